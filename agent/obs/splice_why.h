/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Why the kernel does not carry a connection (never), or does so no longer (left): one enumeration
 * for sluicectl, metrics, docs and tests. X(enumerator, name, text for people).
 */

#define SL_SPLICE_WHYS(X)                                                                   \
	/* never: the agent's decision */                                                   \
	X(OFF, off, "splicing is off on this node")                                         \
	X(SERVICE, service, "an annotation of the Service")                                 \
	X(POD, pod, "an annotation of the Pod")                                             \
	X(NOT_VOUCHED, not_vouched, "no annotation vouches for the program")                \
	X(PROTOCOL, protocol, "HTTP/2, or TLS")                                             \
	X(REMOTE, remote, "the endpoint is not on this node, or its address is not unique") \
	X(NO_SLOT, no_slot, "as many connections are spliced as can be")                    \
	X(MEMORY, memory, "out of memory")                                                  \
	X(ERROR, error, "the kernel refused a map operation")                               \
	/* never: what the kernel found */                                                  \
	X(BUSY, busy, "never seen with nothing under way")                                  \
	X(NOT_FOUND, not_found, "the other end was not found: translated, or elsewhere")    \
	X(CLOSING, closing, "the connection was being closed")                              \
	X(FOREIGN, foreign, "another sockmap, or something else, owns the socket")          \
	/* never, or left: what the application does with its socket */                     \
	X(BLOCKING, blocking, "its socket is blocking")                                     \
	X(ZEROCOPY, zerocopy, "SO_ZEROCOPY")                                                \
	X(LOW_WATER, low_water, "SO_RCVLOWAT above one byte")                               \
	X(ULP, ulp, "an upper layer protocol (kernel TLS)")                                 \
	X(URGENT, urgent, "urgent data")                                                    \
	X(PEEK_OFF, peek_off, "SO_PEEK_OFF")                                                \
	X(TIMESTAMPS, timestamps, "timestamps are wanted")                                  \
	X(INQUIRY, inquiry, "TCP_INQ")                                                      \
	X(FILTER, filter, "a socket filter")                                                \
	X(ORPHAN, orphan, "nobody holds the socket")                                        \
	X(LOCKED, locked, "the application holds its socket's lock")                        \
	X(CROWDED, crowded, "the Pod is at its memory limit")                               \
	X(PROGRAM, program, "the program reads sockets with splice(2)")                     \
	/* left: because of what comes */                                                   \
	X(LENGTH, length, "a message longer than the budget")                               \
	X(BUDGET, budget, "a message of unknown length that passed the budget")             \
	X(TOTAL, total, "the budget of all connections")                                    \
	X(TUNNEL, tunnel, "it became a tunnel")                                             \
	X(UPGRADE, upgrade, "another process of the agent goes on with it")

#define SL_SPLICE_ENUMERATOR(upper, name, text) SL_SPLICE_##upper,
enum sl_splice_why { SL_SPLICE_NONE, SL_SPLICE_WHYS(SL_SPLICE_ENUMERATOR) SL_SPLICE_WHY_MAX };
#undef SL_SPLICE_ENUMERATOR

/* "blocking"; "" for NONE. Static. Thread: any. */
const char *sl_splice_why_name(enum sl_splice_why why);
