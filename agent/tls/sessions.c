/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/sessions.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/map.h"
#include "tls/sessions_impl.h"

/* Some 4 KiB each, with the server's certificates in them. */
enum { MAX_SESSIONS = 1024 };

struct entry {
	struct sl_tls_session_key key;
	struct sl_list by_age;
	SSL_SESSION *session;
};

struct sl_tls_sessions {
	struct sl_map by_key;  /* entry.key -> struct entry */
	struct sl_list by_age; /* newest first */
};

int sl_tls_sessions_new(struct sl_tls_sessions **ret)
{
	struct sl_tls_sessions *s = sl_new(struct sl_tls_sessions);

	if (!s)
		return -ENOMEM;
	sl_list_init(&s->by_age);
	*ret = s;
	return 0;
}

static void drop(struct sl_tls_sessions *s, struct entry *e)
{
	(void)sl_map_del(&s->by_key, SL_KEY(&e->key)); /* it is there */
	sl_list_remove(&e->by_age);
	SSL_SESSION_free(e->session);
	free(e);
}

struct sl_tls_sessions *sl_tls_sessions_free(struct sl_tls_sessions *s)
{
	if (!s)
		return NULL;
	sl_list_foreach_safe (it, &s->by_age)
		drop(s, sl_container_of(it, struct entry, by_age));
	sl_map_deinit(&s->by_key);
	free(s);
	return NULL;
}

static struct entry *add(struct sl_tls_sessions *s, const struct sl_tls_session_key *key)
{
	struct entry *e;

	if (s->by_key.n >= MAX_SESSIONS)
		drop(s, sl_container_of(s->by_age.prev, struct entry, by_age));
	e = sl_new(struct entry);
	if (!e)
		return NULL;
	e->key = *key;
	if (sl_map_put(&s->by_key, SL_KEY(&e->key), e, NULL)) {
		free(e);
		return NULL;
	}
	sl_list_prepend(&s->by_age, &e->by_age);
	return e;
}

bool sl_tls_sessions_put(struct sl_tls_sessions *s, const struct sl_tls_session_key *key,
			 SSL_SESSION *session)
{
	struct entry *e = sl_map_get(&s->by_key, SL_KEY(key));

	if (!e)
		e = add(s, key);
	if (!e)
		return false;
	SSL_SESSION_free(e->session);
	e->session = session;
	sl_list_remove(&e->by_age);
	sl_list_prepend(&s->by_age, &e->by_age);
	return true;
}

SSL_SESSION *sl_tls_sessions_get(const struct sl_tls_sessions *s,
				 const struct sl_tls_session_key *key)
{
	const struct entry *e = sl_map_get(&s->by_key, SL_KEY(key));

	return e && SSL_SESSION_is_resumable(e->session) ? e->session : NULL;
}

void sl_tls_sessions_del(struct sl_tls_sessions *s, const struct sl_tls_session_key *key)
{
	struct entry *e = sl_map_get(&s->by_key, SL_KEY(key));

	if (e)
		drop(s, e);
}
