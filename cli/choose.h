/*
 * `--device auto`: measures what cost.h needs to know, once, and has the session compute on a
 * device if that is expected to be faster.
 */
#ifndef CLI_CHOOSE_H
#define CLI_CHOOSE_H

#include "cost.h"
#include "session.h"

/* The operation on some leading rows of the matrix, into `out`, an array of its values (and of 8 bytes for
 * each row and column): what it takes on the CPU is timed. */
typedef csrn_status cli_trial(csrn_context *ctx, const csrn_csr *rows, void *out, const void *arg);

/* Chooses where job is done, if that is left to the program; session->ctx is the context then. What was
 * chosen, and why, goes to session->choice. job->values and room are filled here. CLI_OK, or an exit code
 * with the message printed. */
int cli_session_choose(cli_session *session, const csrn_csr *A, cli_job *job, cli_trial *trial,
                       const void *arg);

/* The same for a file that is worked on in pieces: by the CPU, as they are read and written. */
void cli_session_chose_pieces(cli_session *session);

#endif
