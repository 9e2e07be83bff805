/* A stack without locks, whose pop takes a node for the same because its address is. */
#include "race.h"

enum { STEPS = 6000 };

struct node {
    struct node *next;
    int in_use;
};

static struct node *head;

static struct node *pop(int index)
{
    struct node *top, *next;

    do {
        top = __atomic_load_n(&head, __ATOMIC_SEQ_CST);
        if (!top) {
            return NULL;
        }
        next = top->next;
        window(index);
    } while (!__atomic_compare_exchange_n(&head, &top, next, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return top;
}

static void push(struct node *node)
{
    node->next = __atomic_load_n(&head, __ATOMIC_SEQ_CST);
    while (!__atomic_compare_exchange_n(&head, &node->next, node, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
}

static void side(int index)
{
    static struct node nodes[3];

    for (int round = 0; round < ROUNDS && !race_lost; round++) {
        if (!index) {
            head = NULL;
            for (int i = 0; i < 3; i++) {
                nodes[i].in_use = 0;
                push(&nodes[i]);
            }
        }
        begin(index, STEPS);
        if (index) {
            struct node *first = pop(index), *second = pop(index);
            if (second) {
                second->in_use = 1;
            }
            if (first) {
                push(first);
            }
        } else {
            pop(index);
        }
        end(index);
        if (!index && head && head->in_use) {
            race_lost = 1;
        }
    }
}

int main(void)
{
    return race(side, "a node that is in use is on the stack", "");
}
