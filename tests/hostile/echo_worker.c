/* SPDX-License-Identifier: MIT */
/*
 * echo_worker - the cheapest worker there can be: gives each item back as its value, as fast as it can read
 *
 * Knows the order of a request's members, which a real worker should not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IN_CAP (1u << 20)
#define OUT_CAP (IN_CAP * 2)

static char in[IN_CAP], out[OUT_CAP];

static void put_all(const char *data, size_t len)
{
	while (len) {
		ssize_t put = write(STDOUT_FILENO, data, len);

		if (put <= 0)
			exit(1);
		data += put;
		len -= (size_t)put;
	}
}

/* {"id":1,...,"item_text":"x"} becomes {"id":1,"value_text":"x"} */
static size_t echo(char *to, const char *line, size_t len)
{
	const char *id_end = memchr(line, ',', len);
	const char *item = memmem(line, len, "\"item", 5);
	size_t n = (size_t)(id_end - line) + 1;

	memcpy(to, line, n);
	memcpy(to + n, "\"value", 6);
	n += 6;
	memcpy(to + n, item + 5, len - (size_t)(item + 5 - line));
	return n + len - (size_t)(item + 5 - line);
}

int main(void)
{
	size_t have = 0;
	ssize_t got;

	while ((got = read(STDIN_FILENO, in + have, IN_CAP - have)) > 0) {
		char *at = in;
		char *feed;
		size_t made = 0;

		have += (size_t)got;
		while ((feed = memchr(at, '\n', (size_t)(in + have - at)))) {
			made += echo(out + made, at, (size_t)(feed + 1 - at));
			at = feed + 1;
		}
		put_all(out, made);
		have = (size_t)(in + have - at);
		memmove(in, at, have);
	}
	return 0;
}
