/* Lets the next vCPU run whenever one's turn ends. Without it QEMU (before 8.1) looks at the next one while no
   instruction may run, for the timer that ended the turn has not been handled yet, and goes on with the first: so
   what the first vCPU does is hardly ever preempted. A vCPU that was asked to exit is not passed over in that way, but
   comes next. So whenever another one runs, all others are asked to.

   What asks is no part of the interface for plugins; a QEMU with modules, as Debian's is, has it among its symbols.
   Source: QEMU 7.2, accel/tcg/tcg-accel-ops-rr.c (rr_cpu_thread_fn), accel/tcg/tcg-accel-ops-icount.c. */
#include <stddef.h>
#include <stdint.h>

struct qemu_plugin_tb;
typedef void (*exec_callback)(unsigned vcpu, void *data);
typedef void (*translation_callback)(uint64_t id, struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translation_callback callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, exec_callback callback, int flags, void *data);
__attribute__((weak)) void *qemu_get_cpu(int index);
__attribute__((weak)) void cpu_exit(void *cpu);
int qemu_plugin_version = INTERFACE;

enum { NO_REGISTERS = 0 };

static unsigned running = -1;

static void run(unsigned vcpu, void *data)
{
    void *other;

    (void)data;
    if (vcpu == running) {
        return;
    }
    running = vcpu;
    for (unsigned i = 0; (other = qemu_get_cpu(i)); i++) {
        if (i != vcpu) {
            cpu_exit(other);
        }
    }
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, run, NO_REGISTERS, NULL);
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    if (qemu_get_cpu && cpu_exit) {
        qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    }
    return 0;
}
