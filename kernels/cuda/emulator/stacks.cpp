// Stacks for the threads of a grid, and the switch from one to another.
//
// A switch saves the six registers that a function must keep and exchanges the stack pointer; where
// that is not written out (not x86-64), ucontext does the same in several times the time.  Stacks
// are taken when a thread begins and go back when it has ended, so a kernel that waits for nobody
// runs all its threads on one.
#include "runtime.h"

#include <stdlib.h>
#include <sys/mman.h>
#if !defined(__x86_64__) || defined(EMULATED_UCONTEXT)
#define EMULATED_UCONTEXT 1
#include <ucontext.h>
#endif

namespace {

const size_t BYTES = 64 << 10, SLAB = 64;       // of a stack; stacks that are allocated at a time

struct Slab { uintptr_t low, high; };
std::vector<Slab> slabs;

}  // namespace

#ifdef EMULATED_UCONTEXT
struct Stack { ucontext_t context; char* low; };
#else
struct Stack { void* pointer; char* low; };
#endif

namespace {

std::vector<Stack*> all, unused;
Stack of_main;

void add_slab() {
    void* at = mmap(nullptr, SLAB * BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) abort();
    slabs.push_back({uintptr_t(at), uintptr_t(at) + SLAB * BYTES});
    for (size_t i = SLAB; i-- > 0;) {
        auto* stack = new Stack;
        stack->low = static_cast<char*>(at) + i * BYTES;
        all.push_back(stack);
        unused.push_back(stack);
    }
}

}  // namespace

Stack* main_stack() { return &of_main; }
void give_stack(Stack* stack) { unused.push_back(stack); }
void give_all_stacks() { unused = all; }

bool on_a_stack(uintptr_t address) {
    for (auto& slab : slabs)
        if (address >= slab.low && address < slab.high) return true;
    return false;
}

#ifndef EMULATED_UCONTEXT

extern "C" void emulated_switch(void** save, void* load);
asm(R"(
    .text
    .globl emulated_switch
    .hidden emulated_switch
    .type emulated_switch, @function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulated_switch, .-emulated_switch
)");

Stack* take_stack(void (*body)()) {
    if (unused.empty()) add_slab();
    Stack* stack = unused.back();
    unused.pop_back();
    // Tops at the same place of every stack would share a few sets of the processor's cache.
    const size_t shift = reinterpret_cast<uintptr_t>(stack->low) / BYTES % 32 * 512;
    void** top = reinterpret_cast<void**>(stack->low + BYTES - shift);
    top[-1] = nullptr;
    top[-2] = reinterpret_cast<void*>(body);
    for (int i = 3; i <= 8; ++i) top[-i] = nullptr;
    stack->pointer = top - 8;
    return stack;
}
void switch_stacks(Stack* from, Stack* to) { emulated_switch(&from->pointer, to->pointer); }

#else

Stack* take_stack(void (*body)()) {
    if (unused.empty()) add_slab();
    Stack* stack = unused.back();
    unused.pop_back();
    getcontext(&stack->context);
    stack->context.uc_stack.ss_sp = stack->low;
    stack->context.uc_stack.ss_size = BYTES;
    stack->context.uc_link = nullptr;
    makecontext(&stack->context, body, 0);
    return stack;
}
void switch_stacks(Stack* from, Stack* to) { swapcontext(&from->context, &to->context); }

#endif
