/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "soak.h"

/* One operation at a time. */
struct uring {
	int fd;
	uint8_t *rings;
	size_t rings_bytes, sqes_bytes;
	struct io_uring_sqe *sqes;
	struct io_uring_params p;
};

static _Atomic uint32_t *ring_u32(const struct uring *u, uint32_t offset)
{
	return (_Atomic uint32_t *)(void *)(u->rings + offset);
}

struct uring *uring_open(void)
{
	struct uring *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->fd = (int)syscall(SYS_io_uring_setup, 4, &u->p);
	if (u->fd < 0 || !(u->p.features & IORING_FEAT_SINGLE_MMAP)) {
		free(u);
		return NULL;
	}
	u->rings_bytes = u->p.sq_off.array + u->p.sq_entries * sizeof(uint32_t);
	if (u->rings_bytes < u->p.cq_off.cqes + u->p.cq_entries * sizeof(struct io_uring_cqe))
		u->rings_bytes = u->p.cq_off.cqes + u->p.cq_entries * sizeof(struct io_uring_cqe);
	u->sqes_bytes = u->p.sq_entries * sizeof(struct io_uring_sqe);
	u->rings = mmap(NULL, u->rings_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			u->fd, IORING_OFF_SQ_RING);
	u->sqes = mmap(NULL, u->sqes_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		       u->fd, IORING_OFF_SQES);
	if (u->rings == MAP_FAILED || u->sqes == MAP_FAILED) {
		close(u->fd);
		free(u);
		return NULL;
	}
	return u;
}

void uring_close(struct uring *u)
{
	if (!u)
		return;
	munmap(u->rings, u->rings_bytes);
	munmap(u->sqes, u->sqes_bytes);
	close(u->fd);
	free(u);
}

static ssize_t run(struct uring *u, const struct io_uring_sqe *sqe)
{
	_Atomic uint32_t *tail = ring_u32(u, u->p.sq_off.tail);
	_Atomic uint32_t *head = ring_u32(u, u->p.cq_off.head);
	uint32_t i = *tail & (u->p.sq_entries - 1);
	struct pollfd p = {.fd = u->fd, .events = POLLIN};
	const struct io_uring_cqe *cqes = (const void *)(u->rings + u->p.cq_off.cqes);
	ssize_t res;

	u->sqes[i] = *sqe;
	atomic_store(ring_u32(u, u->p.sq_off.array) + i, i);
	atomic_store(tail, *tail + 1);
	if (syscall(SYS_io_uring_enter, u->fd, 1, 0, 0, NULL, 0) != 1)
		return -errno;
	while (atomic_load(head) == atomic_load(ring_u32(u, u->p.cq_off.tail))) {
		if (poll(&p, 1, (int)deadline_ms) == 0)
			return -ETIMEDOUT;
	}
	res = cqes[atomic_load(head) & (u->p.cq_entries - 1)].res;
	atomic_store(head, *head + 1);
	return res;
}

ssize_t uring_recv(struct uring *u, int fd, void *buf, size_t n, bool as_read)
{
	struct io_uring_sqe sqe = {
		.opcode = as_read ? IORING_OP_READ : IORING_OP_RECV,
		.fd = fd,
		.addr = (uintptr_t)buf,
		.len = (uint32_t)n,
	};

	return run(u, &sqe);
}

ssize_t uring_send(struct uring *u, int fd, const void *buf, size_t n, bool as_write)
{
	struct io_uring_sqe sqe = {
		.opcode = as_write ? IORING_OP_WRITE : IORING_OP_SEND,
		.fd = fd,
		.addr = (uintptr_t)buf,
		.len = (uint32_t)n,
		.msg_flags = as_write ? 0 : 0x4000 /* MSG_NOSIGNAL */,
	};

	return run(u, &sqe);
}
