/* Writes down what the vCPUs of a guest do, for harness/vm/qemu/plugin/trace.py: which memory each instruction reads
   and writes, and where a vCPU or OSv goes on with another thread. The records are in two rings in shared memory: one
   for the instructions of programs, which the kernel's would soon push out, and one for all others.

   A thread is known by its stack. Where a call puts its return address tells the stack, and the calls that have not
   returned are the thread's call stack. All vCPUs share one thread of QEMU, so nothing here is locked. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What this needs of QEMU's interface for plugins. Source: QEMU, docs/devel/tcg-plugins.rst. */
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, READS_AND_WRITES = 3 };
typedef void (*exec_callback)(unsigned vcpu, void *data);
typedef void (*memory_callback)(unsigned vcpu, uint32_t info, uint64_t address, void *data);
typedef void (*translation_callback)(uint64_t id, struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translation_callback callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, exec_callback callback, int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(
    struct qemu_plugin_insn *insn, exec_callback callback, int flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(
    struct qemu_plugin_insn *insn, memory_callback callback, int flags, int kind, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
bool qemu_plugin_mem_is_store(uint32_t info);
unsigned qemu_plugin_mem_size_shift(uint32_t info);
#if INTERFACE < 4
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *out, size_t length);
#endif
int qemu_plugin_version = INTERFACE;

enum { HEAD_BYTES = 4096, VCPUS = 8, PLACES = 8, STACKS = 512, DEPTH = 128, TOLD = 32 };
enum { BELOW = 32 << 10, ABOVE = 256 }; /* bytes around what is known of a stack that belong to it, too */
enum kind { LOADED = 1, STORED, LEFT, FRAME, ENDED };
enum flow { PLAIN, CALL, RETURN, SAVE, RESTORE, REST, RESUME };

struct head {
    uint64_t count, held, ended_at, records[2];
};

struct record {
    uint64_t count, pc, address;
    uint8_t kind, vcpu, size, flow;
    uint16_t stack, other;
};

struct insn {
    uint64_t pc;
    uint32_t index, flow;
};

struct block {
    uint64_t pc;
    uint32_t count;
    bool ends, pauses;
    struct insn insns[];
};

struct stack {
    uint64_t base, low;
    unsigned interrupted; /* the stack that was left for this one when it was empty */
    unsigned depth, quiet; /* frames, and how many of them are of the code of which nothing is written down */
    struct {
        uint64_t slot, pc;
    } frames[DEPTH];
};

static struct head *head;
static struct ring {
    struct record *records;
    uint64_t capacity;
} rings[2];
static struct stack stacks[STACKS]; /* the first is of what runs before one is known */
static unsigned known = 1, running;
static unsigned current[VCPUS];
static uint64_t called[VCPUS]; /* the last call, until its return address is on the stack (AArch64) */
static const struct block *last[VCPUS];
static uint64_t interrupted_at[VCPUS];
static uint64_t block_began;
static uint64_t turn = 1; /* raised where a thread goes on */
static struct {
    uint64_t turn, pc, address;
} seen[1024]; /* the last access to an address, with many addresses a place */

static bool arm;
static int hold = -1;
static uint64_t until, own, kernel_from, kernel_to, entry_from, entry_to, quiet_from, quiet_to, watched, watched_bytes;
static struct places {
    uint64_t at[PLACES];
    unsigned known;
} ends, pauses;

static bool is_kernels(uint64_t pc)
{
    return kernel_from <= pc && pc < kernel_to;
}

/* Whether that is where the kernel begins with an interrupt or an exception. */
static bool is_entry(uint64_t pc)
{
    return entry_from <= pc && pc < entry_to;
}

static void put(struct record record, unsigned ring)
{
    record.stack = current[record.vcpu];
    if (!stacks[record.stack].quiet) {
        rings[ring].records[head->records[ring]++ % rings[ring].capacity] = record;
    }
}

/* Put the record, and behind it the calls that led there. */
static void put_with_frames(struct record record)
{
    const struct stack *stack = &stacks[current[record.vcpu]];
    struct record frame = {.count = record.count, .kind = FRAME, .vcpu = record.vcpu};
    unsigned told = stack->depth < TOLD ? stack->depth : TOLD;
    bool kernels = is_kernels(record.pc);

    for (unsigned i = 0; i < stack->depth; i++) {
        kernels &= is_kernels(stack->frames[i].pc);
    }
    record.size = record.kind == LEFT ? !kernels : record.size;
    put(record, kernels);
    if ((frame.pc = called[record.vcpu])) {
        put(frame, kernels);
    }
    for (unsigned i = stack->depth; i-- > stack->depth - told;) {
        frame.pc = stack->frames[i].pc;
        put(frame, kernels);
    }
}

/* Whether the instruction made the last access to the address, too, as in a loop that waits for another thread. */
static bool is_repeated(uint64_t pc, uint64_t address)
{
    unsigned at = (address >> 3 ^ address >> 13) % (sizeof seen / sizeof *seen);

    if (seen[at].turn == turn && seen[at].pc == pc && seen[at].address == address) {
        return true;
    }
    seen[at].turn = turn;
    seen[at].pc = pc;
    seen[at].address = address;
    return false;
}

static void put_left(unsigned vcpu, uint64_t count, const struct insn *insn, unsigned to_vcpu, unsigned to_stack)
{
    turn++;
    if (!watched_bytes && !head->ended_at) {
        put_with_frames((struct record){count, insn->pc, to_vcpu, LEFT, vcpu, 0, insn->flow, 0, to_stack});
    }
}

/* Tell the harness where the guest is, and wait until that lets it run on. */
static void stand_still(const char *where)
{
    char answer;

    if (hold < 0 || write(hold, where, 1) != 1 || read(hold, &answer, 1) != 1) {
        hold = -1;
    }
}

static bool is_among(const struct places *places, uint64_t pc)
{
    for (unsigned i = 0; i < places->known; i++) {
        if (places->at[i] == pc) {
            return true;
        }
    }
    return false;
}

static bool holds(const struct stack *stack, uint64_t slot)
{
    return slot + BELOW >= stack->low && slot <= stack->base + ABOVE;
}

/* The stack with the slot. If it is not the vCPU's last, OSv has gone on with another thread. */
static struct stack *stack_of(
    unsigned vcpu, uint64_t slot, uint64_t count, const struct insn *insn, uint64_t caller)
{
    const struct insn interrupted = {interrupted_at[vcpu], 0, PLAIN};
    unsigned found = current[vcpu];

    if (!found || !holds(&stacks[found], slot)) {
        for (found = 1; found < known && !holds(&stacks[found], slot); found++) {
        }
        if (found == known) {
            if (known < STACKS) {
                known++;
            } else {
                found = 1 + slot / BELOW % (STACKS - 1);
            }
            stacks[found] = (struct stack){.base = slot, .low = slot};
        }
        if (!stacks[found].depth) {
            stacks[found].interrupted = current[vcpu];
        }
        put_left(vcpu, count, is_entry(caller) ? &interrupted : insn, vcpu, found);
        current[vcpu] = found;
    }
    return &stacks[found];
}

static bool is_quiet(uint64_t pc)
{
    return quiet_from <= pc && pc < quiet_to;
}

static void on_flow(unsigned vcpu, const struct insn *insn, uint64_t slot, uint64_t count)
{
    uint64_t caller = insn->flow == SAVE ? called[vcpu] : insn->pc;
    struct stack *stack = stack_of(vcpu, slot, count, insn, caller);

    if (insn->flow == SAVE && !caller) {
        return; /* the second half of the pair */
    }
    while (stack->depth && stack->frames[stack->depth - 1].slot <= slot) {
        stack->quiet -= is_quiet(stack->frames[--stack->depth].pc);
    }
    stack->low = slot;
    if (slot > stack->base) {
        stack->base = slot;
    }
    if ((insn->flow == CALL || insn->flow == SAVE) && stack->depth < DEPTH) {
        stack->quiet += is_quiet(caller);
        stack->frames[stack->depth].slot = slot;
        stack->frames[stack->depth++].pc = caller;
    }
    called[vcpu] = 0;
}

static void on_memory(unsigned vcpu, uint32_t info, uint64_t address, void *data)
{
    const struct insn *insn = data;
    uint64_t count = block_began + insn->index;
    bool store = qemu_plugin_mem_is_store(info);
    uint8_t size = 1u << qemu_plugin_mem_size_shift(info);

    if (insn->flow == (store ? CALL : RETURN) || insn->flow == (store ? SAVE : RESTORE)) {
        on_flow(vcpu, insn, address, count);
    }
    if (head->ended_at) {
        return;
    }
    struct record record = {count, insn->pc, address, store ? STORED : LOADED, vcpu, size, insn->flow, 0, 0};
    if (!watched_bytes) {
        if (!is_repeated(insn->pc, address)) {
            put(record, is_kernels(insn->pc));
        }
    } else if (store && address < watched + watched_bytes && watched < address + size) {
        put_with_frames(record);
    }
}

/* Where an interrupt ends, its own stack is empty again. */
static void on_resume(unsigned vcpu, void *data)
{
    const struct stack *stack = &stacks[current[vcpu]];
    const struct insn *insn = data;

    if (!stack->depth && stack->interrupted) {
        put_left(vcpu, block_began + insn->index, insn, vcpu, stack->interrupted);
        current[vcpu] = stack->interrupted;
    }
}

static void on_call(unsigned vcpu, void *data)
{
    const struct insn *insn = data;

    called[vcpu] = insn->flow == CALL ? insn->pc : 0;
}

static void on_block(unsigned vcpu, void *data)
{
    const struct block *block = data;

    if (vcpu != running) {
        if (last[running]) {
            put_left(running, head->count, &last[running]->insns[last[running]->count - 1], vcpu, 0);
        }
        running = vcpu;
    }
    if (is_entry(block->pc) && last[vcpu] && !is_entry(last[vcpu]->pc)) {
        interrupted_at[vcpu] = last[vcpu]->insns[last[vcpu]->count - 1].pc;
    }
    last[vcpu] = block;
    block_began = head->count;
    if (block->pauses && !head->ended_at) {
        stand_still("p");
    }
    if (block->ends && !head->ended_at) {
        put_with_frames((struct record){.count = block_began, .pc = block->pc, .kind = ENDED, .vcpu = vcpu});
        head->ended_at = block_began;
        stand_still("h");
    }
    head->count += block->count;
    if (until && head->count >= until && !head->held) {
        head->held = head->count;
        stand_still("h");
    }
}

/* Source: Arm ARM, C6.2; Intel SDM, volume 2. */
static enum flow flow_on_arm(uint32_t word)
{
    if ((word & 0xfc000000) == 0x94000000 || (word & 0xfffffc1f) == 0xd63f0000) { /* BL, BLR */
        return CALL;
    }
    if ((word & 0xfffffc1f) == 0xd65f0000) { /* RET */
        return RETURN;
    }
    if ((word & 0xfc007fff) == 0xa8007bfd) { /* STP and LDP of x29 and x30 on the stack */
        return word & 1u << 22 ? RESTORE : SAVE;
    }
    if (word == 0xd69f03e0) { /* ERET */
        return RESUME;
    }
    return word == 0xd503207f || word == 0xd503203f ? REST : PLAIN; /* WFI, YIELD */
}

static enum flow flow_on_x86(const unsigned char *code)
{
    if (code[0] == 0xf4 || (code[0] == 0xf3 && code[1] == 0x90)) { /* HLT, PAUSE */
        return REST;
    }
    while ((*code & 0xf0) == 0x40 || *code == 0xf2 || *code == 0xf3 || *code == 0x3e || *code == 0x66) {
        code++;
    }
    if (*code == 0xe8 || (*code == 0xff && (code[1] & 0x38) == 0x10)) {
        return CALL;
    }
    if (*code == 0xcf) { /* IRET */
        return RESUME;
    }
    return *code == 0xc3 || *code == 0xc2 ? RETURN : PLAIN;
}

static enum flow flow_of(const struct qemu_plugin_insn *insn)
{
    unsigned char code[16] = {0};
    size_t size = qemu_plugin_insn_size(insn);
    uint32_t word;

    size = size < sizeof code ? size : sizeof code - 1;
#if INTERFACE < 4
    memcpy(code, qemu_plugin_insn_data(insn), size);
#else
    qemu_plugin_insn_data(insn, code, size);
#endif
    memcpy(&word, code, sizeof word);
    return arm ? flow_on_arm(word) : flow_on_x86(code);
}

static void on_translation(uint64_t id, struct qemu_plugin_tb *tb)
{
    size_t count = qemu_plugin_tb_n_insns(tb);
    struct block *block = malloc(sizeof *block + count * sizeof *block->insns);

    (void)id;
    if (!block) {
        abort();
    }
    block->pc = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0));
    block->count = count;
    block->ends = is_among(&ends, block->pc);
    block->pauses = is_among(&pauses, block->pc);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, NO_REGISTERS, block);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        struct insn *kept = &block->insns[i]; /* for ever: QEMU may run the block at any time */

        *kept = (struct insn){qemu_plugin_insn_vaddr(insn), i, flow_of(insn)};
        qemu_plugin_register_vcpu_mem_cb(insn, on_memory, NO_REGISTERS, READS_AND_WRITES, kept);
        if (arm && (kept->flow == CALL || kept->flow == RETURN)) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_call, NO_REGISTERS, kept);
        } else if (kept->flow == RESUME) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_resume, NO_REGISTERS, kept);
        }
    }
}

static bool add(struct places *places, uint64_t pc)
{
    if (places->known == PLACES) {
        return false;
    }
    places->at[places->known++] = pc;
    return true;
}

/* Arguments are NAME=NUMBER. */
static bool take(const char *argument, int *file)
{
    const char *equals = strchr(argument, '=');
    uint64_t number = equals ? strtoull(equals + 1, NULL, 0) : 0;
    size_t length = equals ? (size_t)(equals - argument) : 0;
    const struct {
        const char *name;
        uint64_t *number;
    } numbers[] = {
        {"until", &until}, {"own", &own}, {"kernel_from", &kernel_from}, {"kernel_to", &kernel_to},
        {"entry_from", &entry_from}, {"entry_to", &entry_to}, {"quiet_from", &quiet_from}, {"quiet_to", &quiet_to},
        {"watched", &watched}, {"watched_bytes", &watched_bytes},
    };

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strlen(numbers[i].name) == length && !strncmp(argument, numbers[i].name, length)) {
            *numbers[i].number = number;
            return true;
        }
    }
    if (!strncmp(argument, "ring=", 5)) {
        *file = number;
    } else if (!strncmp(argument, "hold=", 5)) {
        hold = number;
    } else if (!strncmp(argument, "arm=", 4)) {
        arm = number;
    } else if (!strncmp(argument, "end=", 4)) {
        return add(&ends, number);
    } else if (!strncmp(argument, "pause=", 6)) {
        return add(&pauses, number);
    } else {
        return false;
    }
    return true;
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
    struct stat status;
    int file = -1;

    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!take(argv[i], &file)) {
            return 1;
        }
    }
    if (fstat(file, &status)) {
        return 1;
    }
    head = mmap(NULL, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (head == MAP_FAILED) {
        return 1;
    }
    struct record *records = (struct record *)((char *)head + HEAD_BYTES);
    uint64_t all = (status.st_size - HEAD_BYTES) / sizeof *records;
    if (!own || own >= all) {
        return 1;
    }
    rings[0] = (struct ring){records, own};
    rings[1] = (struct ring){records + own, all - own};
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
