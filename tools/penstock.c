/* SPDX-License-Identifier: MIT */
/*
 * penstock - the command: reads what was typed, hands it to its verb, returns the exit status
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/interrupt.h"
#include "tools/logs.h"
#include "tools/out.h"
#include "tools/say.h"
#include "tools/text.h"

static int (*const verbs[PEN_CMD_COUNT])(const struct pen_cmd *cmd) = {
	[PEN_CMD_RUN] = pen_cmd_run,
	[PEN_CMD_PLAN] = pen_cmd_plan,
	[PEN_CMD_STATUS] = pen_cmd_status,
	[PEN_CMD_WATCH] = pen_cmd_watch,
	[PEN_CMD_ITEMS] = pen_cmd_items,
	[PEN_CMD_EVENTS] = pen_cmd_events,
	[PEN_CMD_DATASETS] = pen_cmd_datasets,
	[PEN_CMD_GET] = pen_cmd_get,
	[PEN_CMD_SCAN] = pen_cmd_scan,
	[PEN_CMD_DROP] = pen_cmd_drop,
	[PEN_CMD_SUBMIT] = pen_cmd_submit,
	[PEN_CMD_WORK] = pen_cmd_work,
	[PEN_CMD_PAUSE] = pen_cmd_pause,
	[PEN_CMD_RESUME] = pen_cmd_resume,
	[PEN_CMD_RETRY] = pen_cmd_retry,
	[PEN_CMD_WHY] = pen_cmd_why,
	[PEN_CMD_CANCEL] = pen_cmd_cancel,
	[PEN_CMD_LOG] = pen_cmd_log,
	[PEN_CMD_VERIFY] = pen_cmd_verify,
	[PEN_CMD_DOCTOR] = pen_cmd_doctor,
	[PEN_CMD_EXPLAIN] = pen_cmd_explain,
	[PEN_CMD_VERSION] = pen_cmd_version,
	[PEN_CMD_HELP] = pen_cmd_help,
	[PEN_CMD_EXPORT] = pen_cmd_export,
	[PEN_CMD_FLAG] = pen_cmd_flag,
	[PEN_CMD_CLEAN] = pen_cmd_clean,
	[PEN_CMD_COMPLETION] = pen_cmd_completion,
	[PEN_CMD_LIMIT] = pen_cmd_limit,
};

/* Descriptors 0 to 2 are open from here on: a file opened later must not be taken for one of them. */
static void open_standard(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)open("/dev/null", fd ? O_WRONLY : O_RDONLY); /* the lowest free number is fd */
}

static uint64_t clock_of(clockid_t id, uint64_t per_second)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * per_second + (uint64_t)t.tv_nsec / (1000000000 / per_second);
}

int main(int argc, char **argv)
{
	struct pen_args args;
	struct pen_cmd cmd = {
		.args = &args,
		.argc = argc,
		.argv = argv,
		.start_ns = clock_of(CLOCK_MONOTONIC, 1000000000),
		.start_ms = clock_of(CLOCK_REALTIME, 1000),
	};
	struct pen_out out;
	int status;

	/* What the engine starts for exec and worker; not for people. It has to stay small: nothing is set up. */
	if (argc == 2 && strcmp(argv[1], "launcher") == 0)
		return pen_launcher_main(3);
	open_standard();
	setlocale(LC_CTYPE, "");
	status = pen_option_parse(&args, argc, argv);
	pen_say_init((enum pen_color)args.value[PEN_O_COLOR].n, args.value[PEN_O_QUIET].set);
	pen_interrupt_init();
	if (args.help) {
		pen_out_init(&out, STDOUT_FILENO);
		pen_option_help(&out, args.command, args.help > 1);
		status = pen_out_end(&out, 0);
	} else if (args.version) {
		status = pen_cmd_version(&cmd);
	} else if (status) {
		pen_say_error(args.code, "%s", args.error);
		if (args.advice[0])
			pen_say_advice("%s", args.advice);
		status = pen_error_exit(args.code);
	} else if (!args.command) {
		pen_out_init(&out, STDERR_FILENO);
		pen_option_help(&out, NULL, false);
		(void)pen_out_end(&out, 0);
		status = 2;
	} else {
		status = verbs[args.command->id](&cmd);
	}
	pen_logs_end();
	pen_say_restore();
	pen_option_fini(&args);
	return status;
}
