// What NCCL is for its callers, on the memory of the host: a world in which all ranks have the same numbers.
// The first byte of the id says what goes wrong. Compiled by the tests.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { SUCCESS = 0, UNHANDLED = 1, INVALID = 4, IN_PROGRESS = 7 };
enum { WELL = 0, JOIN_NEVER_ENDS, JOIN_FAILS, JOIN_FAILS_LATER, SUM_NEVER_ENDS, SUM_FAILS, OTHER_FAILS, ABORT_NEVER_ENDS };

typedef struct { char bytes[128]; } Id;
typedef struct { size_t size; unsigned magic, version; int blocking; } Config;
typedef struct { int kind, of, asked, sums; } Comm;

static int aborted;
static const char *last = "";

int fakeAborted(void) { return aborted; }

int ncclGetVersion(int *version) { *version = 22703; return SUCCESS; }
int ncclGetUniqueId(Id *id) { for (int i = 0; i < 128; i++) id->bytes[i] = i; return SUCCESS; }
const char *ncclGetErrorString(int code) { return code == UNHANDLED ? "unhandled cuda error" : "invalid argument"; }
const char *ncclGetLastError(Comm *comm) { (void)comm; return last; }

#ifndef OLD
int ncclCommInitRankConfig(Comm **comm, int of, Id id, int rank, Config *config) {
    *comm = NULL;
    if (config->size < 20 || config->magic != 0xcafebeef || config->version < 21400 || config->blocking) return INVALID;
    if (rank < 0 || rank >= of) { last = "Invalid rank requested"; return INVALID; }
    if (id.bytes[0] == JOIN_FAILS) { last = "Duplicate GPU\n detected"; return UNHANDLED; }
    *comm = calloc(1, sizeof(Comm));
    (*comm)->kind = id.bytes[0];
    (*comm)->of = of;
    return IN_PROGRESS;
}
#endif

int ncclCommGetAsyncError(Comm *comm, int *state) {
    comm->asked++;
    *state = comm->asked < 3 || comm->kind == JOIN_NEVER_ENDS || (comm->sums && comm->kind == SUM_NEVER_ENDS) ? IN_PROGRESS : SUCCESS;
    if (comm->kind == JOIN_FAILS_LATER && comm->asked == 3) { last = "connection refused"; *state = UNHANDLED; }
    if (comm->kind == OTHER_FAILS && comm->sums) { last = "remote process exited"; *state = UNHANDLED; }
    return SUCCESS;
}

int ncclCommAbort(Comm *comm) {
    aborted++;
    if (comm->kind == ABORT_NEVER_ENDS) pause();
    free(comm);
    return SUCCESS;
}

static int open_groups;
int ncclGroupStart(void) { open_groups++; return SUCCESS; }
int ncclGroupEnd(void) { return open_groups-- == 1 ? IN_PROGRESS : INVALID; }

int ncclAllReduce(const void *from, void *to, size_t count, int type, int op, Comm *comm, void *stream) {
    (void)stream;
    if (open_groups != 1 || type != 7 || op != 0) return INVALID;
    if (comm->kind == SUM_FAILS) { last = "misaligned address"; return INVALID; }
    for (size_t i = 0; i < count; i++) ((float *)to)[i] = ((const float *)from)[i] * (float)comm->of;
    comm->sums++;
    return IN_PROGRESS;
}
