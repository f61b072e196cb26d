/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sessionPersistence (GEP-1619) of a rule, XBackend or XBackendTrafficPolicy, in its present form
 * (cookie, header) and in that of 1.6 (sessionName, idleTimeout, cookieConfig), of which objects
 * are still stored.
 */
#include "resource/duration.h"
#include "resource/kinds.h"

static const char *const fields[] = {"type",	    "absoluteTimeout", "cookie",       "header",
				     "sessionName", "idleTimeout",     "cookieConfig", NULL};
static const char *const cookie_fields[] = {"name", "path", "lifetimeType", NULL};
static const char *const old_cookie_fields[] = {"lifetimeType", NULL};
static const char *const header_fields[] = {"name", NULL};
static const char *const types[] = {"Cookie", "Header", NULL};
static const char *const lifetimes[] = {"Session", "Permanent", NULL};

static void decode_lifetime(const struct sl_cursor *at, struct sl_persistence_spec *p)
{
	int lifetime = 0;

	if (sl_read_enum(at, "lifetimeType", lifetimes, &lifetime))
		p->permanent = lifetime == 1;
}

static void decode_cookie(const struct sl_cursor *at, struct sl_persistence_spec *p)
{
	struct sl_cursor cookie;

	if (sl_read_object(at, "cookieConfig", old_cookie_fields, &cookie))
		decode_lifetime(&cookie, p);
	if (!sl_read_object(at, "cookie", cookie_fields, &cookie))
		return;
	decode_lifetime(&cookie, p);
	(void)sl_read_str(&cookie, "name", &sl_text_token, &p->name); /* one is made */
	(void)sl_read_str(&cookie, "path", &sl_text_cookie_path, &p->path);
}

static void decode_header(const struct sl_cursor *at, struct sl_persistence_spec *p)
{
	struct sl_cursor header;

	if (sl_read_object(at, "header", header_fields, &header))
		(void)sl_require_str(&header, "name", &sl_text_token, &p->name);
	else if (!p->name.len)
		sl_cursor_error(at, "type Header needs header.name");
}

static void refuse_member(const struct sl_cursor *at, const char *key, const char *type)
{
	struct sl_cursor member = sl_cursor_member(at, key);

	if (member.node)
		sl_cursor_error(&member, "must not be there with type %s", type);
}

void sl_decode_persistence(const struct sl_cursor *parent, struct sl_persistence_spec **ret)
{
	struct sl_persistence_spec *p;
	struct sl_cursor at;
	int type = 0;

	if (!sl_read_object(parent, "sessionPersistence", fields, &at))
		return;
	p = sl_decoder_new_n(at.dec, struct sl_persistence_spec, 1);
	if (!p)
		return;
	p->name = SL_STR("");
	p->path = SL_STR("/");
	sl_decode_duration(&at, "absoluteTimeout", &p->absolute_timeout_ns);
	sl_decode_duration(&at, "idleTimeout", &p->idle_timeout_ns);
	(void)sl_read_str(&at, "sessionName", &sl_text_token, &p->name); /* see below */
	(void)sl_read_enum(&at, "type", types, &type);			 /* default Cookie */
	p->is_header = type == 1;
	if (p->is_header) {
		refuse_member(&at, "cookie", "Header");
		refuse_member(&at, "cookieConfig", "Header");
		decode_header(&at, p);
	} else {
		refuse_member(&at, "header", "Cookie");
		decode_cookie(&at, p);
	}
	if (p->permanent && !p->absolute_timeout_ns)
		sl_cursor_error(&at, "absoluteTimeout is required with lifetimeType Permanent");
	*ret = p;
}
