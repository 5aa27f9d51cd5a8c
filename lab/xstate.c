/* Lets User Mode Linux before 6.13 run on processors with AMX.
 *
 * It passes 2696 bytes of extended registers (AVX-512 and PKRU) to PTRACE_SETREGSET. The host accepts
 * only its whole area, 11008 bytes with AMX: "ptrace set fp regs failed, errno = 14". This library,
 * preloaded, copies UML's bytes into an area of the host's size. The rest keeps its initial value: no
 * program has AMX registers before it requests them from the kernel. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef long ptrace_t(unsigned, pid_t, void *, void *);

long ptrace(enum __ptrace_request request, ...)
{
	static ptrace_t *next;
	static char area[65536] __attribute__((aligned(64)));
	va_list ap;

	va_start(ap, request);
	pid_t pid = va_arg(ap, pid_t);
	void *addr = va_arg(ap, void *);
	void *data = va_arg(ap, void *);
	va_end(ap);

	if (!next)
		next = (ptrace_t *)dlsym(RTLD_NEXT, "ptrace");
	if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE) {
		const struct iovec *given = data;
		struct iovec whole = { area, sizeof(area) };

		/* the host shortens iov_len to its own size, so one size fits every processor */
		if (given->iov_len < sizeof(area)) {
			memset(area, 0, sizeof(area));
			memcpy(area, given->iov_base, given->iov_len);
			return next(request, pid, addr, &whole);
		}
	}
	return next(request, pid, addr, data);
}
