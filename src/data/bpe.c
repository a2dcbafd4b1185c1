/* A word is a linked list of tokens in an array; its pairs that can merge lie in a heap by rank,
 * then by place, so a word of n bytes takes n log n steps however long it is. A heap entry is not
 * removed when its pair goes, but passed over when it comes up. */
#include "data/bpe.h"
#include <string.h>
#include "base/memory.h"

enum { NO_NODE = -1, FIRST_WORD = 256 };
static const uint32_t no_merge = UINT32_MAX;

struct slot {
    uint32_t pair; /* left << 16 | right */
    uint32_t rank; /* of the merge; no_merge: free */
};

struct node {
    int32_t previous, next; /* NO_NODE at the ends */
    uint32_t rank;          /* of the merge with next; no_merge: there is none */
    uint16_t token;
};

struct bpe {
    const struct merge *merge; /* borrowed */
    const uint16_t *of_byte;   /* borrowed */
    struct slot *slot;         /* owned hash table of pairs, 1 << (32 - shift) slots */
    int shift;
    struct node *node; /* owned; `room` of them */
    uint64_t *heap;    /* owned; 2 * room of rank << 32 | node */
    size_t room, heap_size;
};

/* ---- ranks of pairs -------------------------------------------------------------------------- */

static uint32_t pair_of(uint16_t left, uint16_t right)
{
    return (uint32_t)left << 16 | right;
}

/* The slot of a pair, or the free one where it would be. */
static struct slot *slot_of(const struct bpe *b, uint32_t pair)
{
    const uint32_t mask = UINT32_MAX >> b->shift;
    uint32_t i = (pair * 0x9E3779B1u) >> b->shift;
    while (b->slot[i].rank != no_merge && b->slot[i].pair != pair)
        i = (i + 1) & mask;
    return &b->slot[i];
}

static enum shoal_status fill_table(struct bpe *b, const struct vocabulary *v, const char *name)
{
    b->shift = 24;
    while (UINT32_MAX >> b->shift < 2 * (uint32_t)v->n_merges)
        b->shift--;
    const size_t slots = (size_t)1 << (32 - b->shift);
    SHOAL_TRY(mem_alloc(slots * sizeof *b->slot, "table of merges", &b->slot));
    memset(b->slot, 0xFF, slots * sizeof *b->slot); /* no_merge everywhere */
    for (int i = 0; i < v->n_merges; i++) {
        const uint32_t pair = pair_of(v->merge[i].left, v->merge[i].right);
        struct slot *s = slot_of(b, pair);
        SHOAL_CHECK(s->rank == no_merge, SHOAL_EFORMAT,
                    "%s: merge %d repeats merge %u: the list of merges is damaged", name, i + 1,
                    s->rank + 1);
        *s = (struct slot){pair, (uint32_t)i};
    }
    return SHOAL_OK;
}

enum shoal_status bpe_create(const struct vocabulary *v, const char *name, struct bpe **out)
{
    struct bpe *b;
    SHOAL_TRY(mem_alloc(sizeof *b, "byte pair encoding", &b));
    b->merge = v->merge;
    b->of_byte = v->of_byte;
    const enum shoal_status st = fill_table(b, v, name);
    if (st == SHOAL_OK)
        *out = b;
    else
        bpe_destroy(&b);
    return st;
}

void bpe_destroy(struct bpe **b)
{
    if (!*b) return;
    mem_free((*b)->slot);
    mem_free((*b)->node);
    mem_free((*b)->heap);
    mem_free(*b);
    *b = NULL;
}

/* ---- the heap -------------------------------------------------------------------------------- */

static void sink(uint64_t *heap, size_t size, size_t i)
{
    const uint64_t entry = heap[i];
    for (size_t child; (child = 2 * i + 1) < size; i = child) {
        if (child + 1 < size && heap[child + 1] < heap[child]) child++;
        if (entry <= heap[child]) break;
        heap[i] = heap[child];
    }
    heap[i] = entry;
}

static void push(struct bpe *b, uint64_t entry)
{
    size_t i = b->heap_size++;
    while (i > 0 && entry < b->heap[(i - 1) / 2]) {
        b->heap[i] = b->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    b->heap[i] = entry;
}

static uint64_t pop(struct bpe *b)
{
    const uint64_t first = b->heap[0];
    b->heap[0] = b->heap[--b->heap_size];
    sink(b->heap, b->heap_size, 0);
    return first;
}

/* ---- words ----------------------------------------------------------------------------------- */

static enum shoal_status make_room(struct bpe *b, size_t n)
{
    SHOAL_CHECK(n <= TOKENIZER_MAX_WORD, SHOAL_EFORMAT,
                "a word of %zu bytes, without a change between letters, digits, signs and white "
                "space, is too long to encode: at most %d",
                n, TOKENIZER_MAX_WORD);
    if (n <= b->room) return SHOAL_OK;
    size_t room = b->room > 0 ? b->room : FIRST_WORD;
    while (room < n)
        room *= 2;
    mem_free(b->node);
    mem_free(b->heap);
    b->node = NULL;
    b->heap = NULL;
    b->room = 0;
    SHOAL_TRY(mem_alloc(room * sizeof *b->node, "a long word", &b->node));
    SHOAL_TRY(mem_alloc(2 * room * sizeof *b->heap, "a long word", &b->heap));
    b->room = room;
    return SHOAL_OK;
}

/* Find out how node i merges with the one after it. Whether it does. */
static bool rank_pair(struct bpe *b, int32_t i)
{
    struct node *left = &b->node[i];
    left->rank = no_merge;
    if (left->next == NO_NODE) return false;
    left->rank = slot_of(b, pair_of(left->token, b->node[left->next].token))->rank;
    return left->rank != no_merge;
}

static uint64_t entry_of(const struct bpe *b, int32_t i)
{
    return (uint64_t)b->node[i].rank << 32 | (uint32_t)i;
}

static void split(struct bpe *b, const char *word, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        b->node[i] = (struct node){.previous = i - 1,
                                   .next = i + 1 < n ? i + 1 : NO_NODE,
                                   .token = b->of_byte[(unsigned char)word[i]]};
    }
    b->heap_size = 0;
    for (int32_t i = 0; i < n; i++) {
        if (rank_pair(b, i)) b->heap[b->heap_size++] = entry_of(b, i);
    }
    for (size_t i = b->heap_size / 2; i-- > 0;)
        sink(b->heap, b->heap_size, i);
}

/* Join node i with the one after it. Each merge takes an entry and adds at most two, and there are
 * fewer merges than bytes: the heap's room suffices. */
static void join(struct bpe *b, int32_t i)
{
    struct node *left = &b->node[i];
    struct node *right = &b->node[left->next];
    left->token = b->merge[left->rank].result;
    left->next = right->next;
    right->rank = no_merge; /* entries of what is gone mean nothing */
    if (left->next != NO_NODE) b->node[left->next].previous = i;
    if (rank_pair(b, i)) push(b, entry_of(b, i));
    if (left->previous != NO_NODE && rank_pair(b, left->previous))
        push(b, entry_of(b, left->previous));
}

enum shoal_status bpe_encode(struct bpe *b, struct token_list *out, const char *word, size_t n)
{
    SHOAL_TRY(make_room(b, n));
    SHOAL_TRY(token_list_reserve(out, n));
    split(b, word, (int32_t)n);
    while (b->heap_size > 0) {
        const uint64_t entry = pop(b);
        const int32_t i = (int32_t)(uint32_t)entry;
        if (b->node[i].rank == entry >> 32) join(b, i);
    }
    for (int32_t i = n > 0 ? 0 : NO_NODE; i != NO_NODE; i = b->node[i].next)
        out->token[out->count++] = b->node[i].token;
    return SHOAL_OK;
}
