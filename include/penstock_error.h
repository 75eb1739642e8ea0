/* SPDX-License-Identifier: MIT */
/*
 * penstock_error.h - the one list of codes
 *
 * PENnnnn is the int code -nnnn. errno stays above -200 and LMDB sits at -30799 .. -30780, so the three
 * never meet. The numbers are stable for ever: scripts match on them, stores keep them. A row is
 *
 *   X(NAME, number, exit status, "what it means", "what to do")
 */
#ifndef PENSTOCK_ERROR_H
#define PENSTOCK_ERROR_H

#define PEN_ERRORS(X)                                                                              \
	/* running */                                                                              \
	X(USAGE, 301, 2, "the request is not well formed", "see `penstock COMMAND --help`")        \
	X(UNSUPPORTED, 302, 2, "this version cannot do that", "see `penstock run --help` for what it can") \
	X(NOT_FOUND, 303, 5, "there is no such thing in the store", "")                            \
	X(AMBIGUOUS, 304, 2, "that prefix fits several batches", "type more of the id")            \
	X(SOURCE_OPEN, 305, 3, "a source cannot be opened", "check the path and its permissions; nothing was run") \
	X(BATCH_BUSY, 306, 75, "another process runs this batch", "wait for it, or stop that process; the batch resumes from its checkpoint") \
	X(SEQ_BUSY, 307, 75, "another unfinished batch appends to this dataset by @seq", "finish it by running its command again, or end it with `penstock cancel`") \
	X(CHANGED, 308, 3, "the sources changed since the batch was interrupted", "run with --fresh to start a new batch from the changed sources; the half-done one is then cancelled") \
	X(STOPPED_BY, 309, 4, "stopped by a threshold", "raise --max-rejects and run the same command: it goes on where it stopped") \
	X(INTERRUPTED_BY, 310, 130, "interrupted; resumable", "run the same command again") \
	X(CANCELLED_BY, 311, 1, "cancelled", "") \
	X(BATCH_OVER, 312, 2, "the batch has ended", "") \
	X(IO_DENIED, 313, 3, "io_uring is not usable here", "use --io auto or --io threads; in Docker, a seccomp profile that allows io_uring") \
	X(KEY_KIND, 314, 2, "the dataset's keys are of another kind", "choose another dataset with --into, or the key it was made with") \
	X(IN_USE, 315, 75, "an unfinished batch uses it", "finish it, or end it with `penstock cancel`") \
	X(MEMORY, 316, 3, "not enough memory", "raise the limit (ulimit -v, cgroup), or use fewer --jobs") \
	X(TREE_MOVED, 317, 0, "files behind the checkpoint were added or removed; they are not read again", "run with --fresh to take the tree as it is now") \
	X(SOURCE_KEPT, 321, 0, "source files were not deleted or moved", "they are no longer what was read, or cannot go where they should: look at them, then remove them yourself") \
	X(WAITS, 322, 0, "items wait for their next try", "`penstock work` goes on when they are due") \
	X(PROCESSOR_BROKEN, 323, 3, "the processor cannot work", "run its command by hand on one item; nothing is lost: the same batch runs again") \
	X(PAUSED_BY, 325, 75, "the batch is paused", "`penstock resume` lets it go on") \
	X(CHILD_LAUNCHER, 331, 3, "the launcher of child processes does not start", "install `penstock` where it is on the PATH, or set $PENSTOCK_LAUNCHER to it") \
	X(CHILD_MISSING, 332, 3, "the command cannot be run", "check its name, the PATH and its permissions") \
	X(CHILD_BROKEN, 333, 3, "workers end before they answer anything", "run the command by hand with one line of input: see docs/WORKERS.md") \
	X(REPLACED, 340, 1, "a later submission with the same key took its place", "`penstock why BATCH` names it; nothing of this one was done") \
	X(AT_CAP, 341, 75, "as many batches run in the store as may", "it begins when one of them ends; see --cap and --owner-cap of `penstock work`") \
	X(NO_ROOM, 342, 75, "too little memory or disk is free to begin", "free some, or ask for less: --min-free-memory, --min-free-disk") \
	X(LIMIT_REFUSED, 350, 6, "refused by a limit", "wait as long as Retry-After says; `penstock limit peek` shows what is left") \
	X(RATE_WAITS, 351, 0, "waits for a limit", "it goes on by itself; `penstock why` says which limit and how long") \
	X(LIMIT_UNKNOWN, 352, 5, "there is no such policy", "`penstock limit list` shows them; `penstock limit set` makes one") \
	X(LIMIT_FULL, 353, 75, "the table of limits is full of identities that still count", "wait until windows end, or use shorter ones") \
	X(LIMIT_TABLE, 354, 3, "the table of limits cannot be used", "check permissions and space in the store's directory run") \
	X(FLAG_REFUSED, 355, 6, "a flag is off", "`penstock flag eval` says for whom, `penstock flag history` who changed it and why") \
	X(FLAG_BAD, 356, 2, "a flag cannot be like that", "see `penstock flag --help`") \
	X(FLAG_CHANGED, 357, 75, "the flag was changed meanwhile", "look at it again") \
	X(FLAG_HELD, 358, 4, "the ramp holds", "see `penstock flag history`; `penstock flag ramp NAME --resume` goes on") \
	X(LOG_PLACE, 360, 3, "the log cannot be kept there", "check the directory and its permissions; links are not followed") \
	X(LOG_LEVEL, 361, 2, "that is no level of the log", "LEVEL or MODULE=LEVEL, separated by commas; levels: off, error, warn, info, verbose, debug") \
	X(LOG_CHAIN, 362, 65, "the chain of audit lines is broken", "somebody changed or removed lines: compare with a copy of the files") \
	X(LOG_JOURNAL, 363, 0, "there is no system journal here", "leave out --log-journal") \
	X(LOG_FULL, 364, 0, "a log file has all the bytes it may have", "the next day's file takes lines again; raise what a module says less often") \
	X(BULK_UNFIT, 365, 2, "bulk mode cannot be used for this batch", "leave --bulk at auto: the batch then goes the ordinary way") \
	X(BULK_SPACE, 366, 3, "there is too little space for bulk mode", "make space, or use --bulk off, which needs no second copy of the records") \
	X(RUN_DAMAGED, 367, 65, "a sorted run of the batch is missing or damaged", "run the same command with --fresh: the batch is cancelled and its sources are read again") \
	/* store */                                                                                \
	X(STORE_MISSING, 401, 3, "there is no store in that directory", "`penstock run` makes one; check --store and $PENSTOCK_STORE") \
	X(STORE_FOREIGN, 402, 2, "the directory holds other files and is no store", "choose an empty or new directory") \
	X(STORE_NEWER, 403, 3, "the store was written by a newer version", "use that version; nothing was changed") \
	X(STORE_NETWORK, 404, 3, "the store is on a network file system, where LMDB's locks and maps do not hold", "put it on a local disk") \
	X(STORE_DAMAGED, 405, 65, "the store is damaged", "run `penstock verify`; restore a backup or load the sources into a new store") \
	X(NO_DATASET, 406, 5, "there is no such dataset", "`penstock datasets` lists them") \
	X(DATASET_NAME, 407, 2, "that dataset name cannot be used", "1 to 200 bytes, no control characters, not starting with `penstock.`") \
	X(DATASETS_FULL, 408, 3, "the store has as many datasets as it can have", "drop one, or use another store") \
	X(MAP_FULL, 409, 3, "the store's map is full", "raise the address space limit (ulimit -v)") \
	X(DISK_FULL, 410, 3, "the disk is full", "make space: the run goes on by itself, nothing is lost") \
	X(DISK_FAILED, 411, 74, "the disk failed under a commit", "check the disk (dmesg); the next start reopens the store and goes on") \
	X(READERS_FULL, 412, 75, "all reader slots of the store are in use", "close some readers") \
	X(STORE_READONLY, 413, 3, "the store cannot be written", "check permissions and whether the file system is mounted read-only") \
	X(STORE_OLDER, 414, 3, "the store is of an older format and must be upgraded", "open it once for writing with this version (`penstock clean`); it then cannot be read by the older one") \
	/* items: the input is bad */                                                              \
	X(JSON_KEY_MISSING, 1030, 1, "the record has no value at the key's pointer", "check --key, or give the record one") \
	X(KEY_TYPE, 1031, 1, "the key is neither a string nor a number", "keys are strings or numbers") \
	X(KEY_EMPTY, 1032, 1, "the key is empty", "") \
	X(KEY_LONG, 1033, 1, "the key is longer than 511 bytes", "use a shorter key, @content or @seq") \
	X(KEY_TWICE, 1034, 1, "the key is already in the dataset", "--on-duplicate replace or keep accept it") \
	X(RECORD_LARGE, 1040, 1, "the record is larger than --max-record", "raise --max-record") \
	X(SOURCE_BROKE, 1041, 1, "the source broke part-way", "what was whole before it is committed; mend the source and run it again") \
	X(JSON_BAD, 1042, 1, "JSON is malformed", "") \
	X(JSON_CUT, 1043, 1, "JSON ends too early", "") \
	X(JSON_UTF8, 1044, 1, "the text is not valid UTF-8", "convert it to UTF-8") \
	X(JSON_DEPTH, 1045, 1, "JSON is nested deeper than 1,024 levels", "") \
	X(JSON_TWO, 1046, 1, "more than one JSON value on a line", "put each value on a line of its own") \
	X(SOURCE_CHANGED, 1047, 1, "the source changed while it was read", "run it again when nobody writes to it") \
	X(SOURCE_VANISHED, 1048, 1, "the file vanished", "") \
	X(SOURCE_DENIED, 1049, 1, "the file cannot be read", "check its permissions") \
	X(DUPLICATE_KEPT, 1050, 0, "the key was already there and was kept", "") \
	X(CSV_QUOTE, 1051, 1, "text follows a closing quote", "double a quote inside a quoted cell, or choose --quote and --escape") \
	X(CSV_OPEN, 1052, 1, "a quoted cell is not closed", "close it, or choose --quote none if quotes are ordinary text") \
	X(CSV_CELLS, 1053, 1, "the row has another number of cells than the header", "check the row and --delimiter; --value raw keeps rows as they are") \
	X(FRAME_CUT, 1054, 1, "a frame's length reaches beyond the end of the source", "check --format frames: and whether the file is whole") \
	X(PACKED_CUT, 1055, 1, "compressed data ends too early", "what was whole before it is committed; fetch the file again") \
	X(PACKED_BAD, 1056, 1, "compressed data is corrupt", "what was whole before it is committed; fetch the file again") \
	X(PACKED_WINDOW, 1057, 1, "compressed data needs a window above 128 MiB", "compress it again without --long, or unpack it into a pipe") \
	X(ENCODING_BAD, 1058, 1, "bytes that mean nothing in the source's encoding", "check --encoding") \
	X(MEMBER_OUTSIDE, 1059, 1, "the member's name leads out of the archive", "its name begins with / or holds ..; unpack it by hand") \
	X(LINK_OUTSIDE, 1070, 1, "a symbolic link leads out of the directory", "links are followed only below the directory given: give what it leads to as a source of its own") \
	/* items: the command or worker */                                                         \
	X(CHILD_REFUSED, 1080, 1, "the command refused the item", "it ended with status 65: the input is bad") \
	X(CHILD_EXIT, 1081, 1, "the command failed", "see its stderr, kept with the item") \
	X(CHILD_SIGNAL, 1082, 1, "the command was ended by a signal", "see its stderr, kept with the item; signal 9 may mean that memory ran out") \
	X(CHILD_TIMEOUT, 1083, 1, "the item took longer than its time", "raise --timeout") \
	X(CHILD_OUTPUT, 1084, 1, "there is more output than a value may have", "raise --max-record") \
	X(CHILD_START, 1085, 1, "the command could not be started for the item", "") \
	X(CHILD_ARGUMENTS, 1086, 1, "the item cannot be put into the command", "take {} (a file) instead of what is too long") \
	X(WORKER_DIED, 1090, 1, "the worker died on the item", "see its stderr, kept with the item") \
	X(WORKER_REPLY, 1091, 1, "the worker said something that is no reply", "only replies may go to stdout; print what is for people to stderr") \
	X(WORKER_REJECT, 1092, 1, "the worker refused the item", "") \
	X(WORKER_RETRY, 1093, 1, "the worker failed and asks to try again", "") \
	X(WORKER_FATAL, 1094, 1, "the worker failed and asks not to try again", "") \
	X(WORKER_DROP, 1095, 0, "the worker dropped the item", "") \
	/* processors */                                                                            \
	X(PLUGIN_OPEN, 1300, 3, "the plugin cannot be loaded", "check the path and what it is linked against (ldd); nothing was run") \
	X(PLUGIN_UNFIT, 1301, 2, "the shared object is no plugin of this version", "build it against the installed penstock_plugin.h; nothing was run") \
	X(PLUGIN_REJECTED, 1302, 1, "the plugin rejected the item", "") \
	X(PLUGIN_BAD, 1303, 1, "the plugin's answer breaks its contract", "the plugin has a mistake: penstock_plugin.h says what it may answer") \
	X(PLUGIN_DROPPED, 1304, 0, "the plugin left the item out", "") \
	X(WHERE_FALSE, 1305, 0, "the item does not fit --where", "") \
	X(NOT_OBJECT, 1306, 1, "the item is no JSON object", "project takes members of objects; --where can leave other items out")

enum {
#define X(name, number, status, text, advice) PEN_##name = number,
	PEN_ERRORS(X)
#undef X
};

#endif
