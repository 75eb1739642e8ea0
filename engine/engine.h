/* SPDX-License-Identifier: MIT */
/*
 * engine - the threads, and everything they share
 *
 *	program --submit--> reader --> processor 0..P-1 --> committer --> store
 *	   ^                  ^  `--------- control ----------^ |
 *	   |                  `------------- tags --------------|
 *	   `---------------- completions, tags of puts ---------'
 *
 * Every arrow is a lane (or a fanin of lanes) with room for everything that can be under way, so no push
 * can find it full. Words in lanes are pointers to struct pen_chunk (to processors, to and from the
 * committer), to struct pen_sqe (from the program, low bit clear) or to put chunks (low bit set), and sqe
 * numbers (completions).
 *
 * Which thread writes which word is said at each field; docs/CONCURRENCY.md has the whole map.
 */
#ifndef PEN_ENGINE_ENGINE_H
#define PEN_ENGINE_ENGINE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "engine/batch.h"
#include "engine/meter.h"
#include "ring/arena.h"
#include "ring/clock.h"
#include "ring/fanin.h"
#include "ring/io.h"

#define PEN_PROCESSORS_MAX 64u
#define PEN_ENTRIES_MAX 65536u
#define PEN_PUT_TAGS 8u /* of the arena, for records that a program puts */

enum pen_op {
	PEN_OP_NOP = 0,
	PEN_OP_RUN,
	PEN_OP_PLAN,
	PEN_OP_SUBMIT,
	PEN_OP_TAKE,
	PEN_OP_OPEN,
	PEN_OP_PUT,
	PEN_OP_CLOSE,
	PEN_OP_PAUSE,
	PEN_OP_RESUME,
	PEN_OP_CANCEL
};

struct pen_sqe {
	/* Written by the submitting thread before submit. */
	struct pen_engine *engine;
	uint32_t index;
	enum pen_op op;
	unsigned flags;
	uint64_t user_data;
	uint64_t batch;
	unsigned take_flags;
	struct pen_caps take_caps;
	struct pen_plan *plan;	       /* RUN, SUBMIT, PLAN, OPEN: owned, the reader takes it */
	struct pen_forecast *forecast; /* PLAN: the program's */
	int early;		       /* negative: refused while it was prepared */
	struct pen_failure why;

	/* The reader's. */
	struct pen_sqe *next; /* runs that wait for a place */

	/* Written by whoever completes it, before its number is pushed to the completion lanes. */
	struct pen_cqe cqe;
};

struct pen_processor {
	struct pen_engine *engine;
	uint32_t index;
	pthread_t thread;
	struct pen_json *json; /* the processor's; made before it starts */
	struct pen_fanin in;   /* one lane, from the reader */
	uint64_t sent;	       /* chunks given to it; the reader's */
	_Alignas(PEN_LINE_PAIR) _Atomic uint64_t
		done;		/* chunks it passed on; written by the processor, read by the reader */
	struct pen_meter meter; /* the processor's */
};

/* The lanes into the completion queue and into the pool of put tags. */
enum { PEN_FROM_COMMITTER = 0, PEN_FROM_READER, PEN_FROM_COUNT };

struct pen_jumbo {
	/* The reader's. */
	char *base; /* mapped at first use */
	size_t bytes;
	const struct pen_batch *holder; /* NULL: free */
};

struct pen_engine {
	/* Constant after start. */
	struct pen_store *store; /* may be NULL in a rehearsal */
	const struct pen_clock *clock;
	pen_notice_fn *notice;
	void *notice_arg;
	enum pen_io_choice io_choice;
	uint32_t chunk_bytes;
	uint32_t processor_count;
	uint32_t entries;
	bool rehearse;		  /* the last stage counts instead of committing */
	struct pen_min_free room; /* that is to be free for further items of jobs */
	struct pen_arena arena;
	struct pen_chunk *chunks; /* one per tag */
	struct pen_sqe *sqes;
	struct pen_processor *processors;
	bool uring;

	/* Lanes. */
	struct pen_fanin commit_in; /* processors 0..P-1, then the reader, then the foreman -> committer */
	struct pen_lane submitted;  /* program -> reader */
	struct pen_lane returned;   /* committer -> reader: chunks done with, control chunks answered */
	struct pen_fanin completed; /* committer, reader -> program: sqe numbers */
	struct pen_lane sqes_free;  /* reaping thread -> submitting thread */
	struct pen_fanin put_tags;  /* committer, reader -> submitting thread */

	/* The reader's. */
	pthread_t reader;
	struct pen_io *io;
	struct pen_tags tags;
	struct pen_jumbo jumbos[PEN_BATCHES_MAX]; /* one is in use, but for those of batches that rest */
	struct pen_batch *batches[PEN_BATCHES_MAX];
	struct pen_sqe *waiting, **waiting_end; /* runs that wait for a free place, oldest first */
	bool starved;				/* in this turn, a feed found no free tag */
	struct pen_meter reader_meter;
	_Atomic uint32_t live;	 /* batches under way; read by whoever waits for chunks */
	_Atomic uint32_t queued; /* runs in `waiting`; read by the committer */

	/* The committer's; made before it starts. */
	struct pen_foreman *foreman; /* NULL in a rehearsal; constant after start */
	pthread_t foreman_thread;
	struct pen_group *group;
	struct pen_chunk **ready;  /* room for half of the tags */
	struct pen_limits *limits; /* NULL until a batch has a budget */
	struct pen_tell *tell;	   /* NULL: nobody is told (a rehearsal) */
	struct pen_meter commit_meter;
	pthread_t committer;

	/* The submitting thread's. */
	uint32_t *sqe_stack;
	uint32_t sqe_free_count;
	uint64_t *prepared; /* words for the next submit */
	uint32_t prepared_count;
	struct pen_chunk *stage; /* put chunk being filled */
	uint64_t stage_batch;
	uint32_t *put_stack;
	uint32_t put_free_count;

	/* Shared. */
	_Atomic bool drain;   /* any thread (signal handlers too) -> reader and committer */
	_Atomic bool closing; /* the stopping thread -> reader */
	_Atomic int fatal;    /* committer -> everyone: the disk failed */
	sem_t started;	      /* reader -> starting thread: io is open, or start_res says why not */
	sem_t told;	      /* starting thread -> committer: tell is there, or will never be */
	sem_t quiet;	      /* stopping thread -> reader: nobody is left who might wake io */
	int start_res;
	struct pen_failure start_why;

	pthread_mutex_t failures_lock; /* guards the table below; nobody holds it for long */
	struct {
		uint64_t batch;
		struct pen_failure why;
	} failures[PEN_BATCHES_MAX + 1];
	uint32_t failure_count;

	pthread_mutex_t gauges_lock; /* guards gauges[] against ending batches while progress looks them up */
	struct pen_batch *gauges[PEN_BATCHES_MAX];
};

/* Tells the program; text is formatted. Reader and committer threads. */
void pen_engine_notice(struct pen_engine *engine, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Posts a completion. from: PEN_FROM_... of the calling thread. */
void pen_engine_complete(struct pen_engine *engine, uint32_t from, uint32_t sqe, int res, uint64_t batch,
			 uint64_t value);
/* Keeps the failure for pen_engine_failure(). Any thread. */
void pen_engine_record(struct pen_engine *engine, uint64_t batch, const struct pen_failure *why);

void *pen_reader_main(void *engine);	   /* reader.c */
void *pen_processor_main(void *processor); /* processor.c */
void *pen_committer_main(void *engine);	   /* committer.c */
void *pen_rehearsal_main(void *engine);	   /* rehearse_stage.c: instead of the committer */

#endif
