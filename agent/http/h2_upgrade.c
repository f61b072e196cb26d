/* SPDX-License-Identifier: Apache-2.0 */
/* From HTTP/1.1 to HTTP/2 on the same connection (RFC 7540 section 3.2; RFC 9113 has dropped it,
 * its clients have not). */
#include <errno.h>
#include "base/base64.h"
#include "http/h2_impl.h"

enum { SETTINGS_TEXT = 340 }; /* each of the known ones is 8 characters */

int sl_h2_upgrade(struct sl_h2 *h2, struct sl_h2_stream *st, struct sl_str settings)
{
	char payload[SETTINGS_TEXT / 4 * 3 + 3];
	size_t n;
	int r;

	if (settings.len > SETTINGS_TEXT || sl_base64url_decode(settings, payload, &n) || n % 6)
		return -EINVAL;
	r = nghttp2_session_upgrade2(h2->session, (const uint8_t *)payload, n,
				     st->req->method == SL_METHOD_HEAD, NULL);
	if (r)
		return r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EINVAL;
	sl_h2_stream_attach(h2, st, 1);
	st->head_in = st->ended_in = true;
	return 0;
}
