/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Intrusive doubly linked list; a node in no list points to itself. */
#include <stdbool.h>
#include <stddef.h>

struct sl_list {
	struct sl_list *prev, *next;
};

#define SL_LIST_INIT(l)			 ((struct sl_list){&(l), &(l)})
#define sl_container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

static inline void sl_list_init(struct sl_list *l)
{
	l->prev = l->next = l;
}

static inline bool sl_list_empty(const struct sl_list *l)
{
	return l->next == l;
}

static inline void sl_list_append(struct sl_list *head, struct sl_list *n)
{
	n->prev = head->prev;
	n->next = head;
	head->prev->next = n;
	head->prev = n;
}

static inline void sl_list_prepend(struct sl_list *head, struct sl_list *n)
{
	sl_list_append(head->next, n);
}

/* Safe on a node that is in no list, if it was initialised. */
static inline void sl_list_remove(struct sl_list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	sl_list_init(n);
}

#define sl_list_foreach(it, head) \
	for (struct sl_list *it = (head)->next; it != (head); it = it->next)
/* The current node may be removed in the body. */
#define sl_list_foreach_safe(it, head)                                               \
	for (struct sl_list *it = (head)->next, *it##_next = it->next; it != (head); \
	     it = it##_next, it##_next = it->next)
