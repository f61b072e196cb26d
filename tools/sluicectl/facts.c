/* SPDX-License-Identifier: Apache-2.0 */
#include "facts.h"

#include "base/cleanup.h"
#include "table.h"

void sl_fact(struct sl_facts *f, const char *name, const char *fmt, ...)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	va_list ap;

	va_start(ap, fmt);
	if (!f->error)
		f->error = sl_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (!f->error)
		f->error = sl_buf_append(&text, "", 1);
	if (!f->error)
		f->error = sl_buf_printf(f->out, "%-20s", name);
	if (!f->error)
		f->error = sl_text_append(f->out, sl_buf_ptr(&text));
	if (!f->error)
		f->error = sl_buf_append(f->out, "\n", 1);
}
