/* SPDX-License-Identifier: MIT */
/*
 * logger - where a line was called from: names of frames, or in a signal handler their addresses
 */
#include <execinfo.h>
#include <stdlib.h>
#include <string.h>

#include "store/logger.h"

/* "0x5581aa" of an address, without stdio. */
void pen_logger_hex(uintptr_t address, char ret[20])
{
	static const char hex[] = "0123456789abcdef";
	int digits = 1;

	while (digits < 16 && address >> (4 * digits))
		digits++;
	ret[0] = '0';
	ret[1] = 'x';
	for (int i = 0; i < digits; i++)
		ret[2 + i] = hex[address >> (4 * (digits - 1 - i)) & 15];
	ret[2 + digits] = 0;
}

size_t pen_logger_trace(const struct pen_log_record *rec, char *line, size_t len, size_t cap,
			struct pen_log_scratch *scratch, bool last)
{
	void *frames[PEN_LOG_FRAMES];
	char bare[PEN_LOG_FRAMES][20], *names[PEN_LOG_FRAMES], **symbols = NULL;
	size_t count = pen_min(rec->frame_count, PEN_LOG_FRAMES);

	memcpy(frames, (const uint8_t *)rec + rec->bytes - rec->frame_count * 8u, count * sizeof *frames);
	if (!last)
		symbols = backtrace_symbols(frames, (int)count);
	for (size_t i = 0; i < count; i++) {
		/* Where the file lies is nobody's business. */
		char *slash = symbols ? strrchr(symbols[i], '/') : NULL;

		pen_logger_hex((uintptr_t)frames[i], bare[i]);
		names[i] = symbols ? (slash ? slash + 1 : symbols[i]) : bare[i];
	}
	len = pen_log_line_trace(line, len, cap, names, count, scratch);
	free(symbols);
	return len;
}
