/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/tail.h"

/* Goal: whatever the sizes of what is added, the last `keep` bytes are kept. Method: against a plain copy. */
Test(tail, keeps_the_last_bytes)
{
	static char all[200000];
	static const size_t keeps[] = { 1, 2, 7, 1000, 1024, 4096 };

	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)(i * 7 + i / 251);
	for (size_t k = 0; k < sizeof(keeps) / sizeof(keeps[0]); k++) {
		struct pen_tail tail;
		size_t sum = 0;

		pen_tail_init(&tail, keeps[k]);
		for (size_t n = 0; sum + n < sizeof(all); n = (n * 5 + 3) % 3001) {
			size_t len;
			const char *data;

			pen_tail_add(&tail, all + sum, n);
			sum += n;
			data = pen_tail_get(&tail, &len);
			cr_assert_eq(len, sum < keeps[k] ? sum : keeps[k]);
			cr_assert_eq(memcmp(data, all + sum - len, len), 0);
		}
		pen_tail_fini(&tail);
	}
}

Test(tail, empty_is_no_null)
{
	struct pen_tail tail;
	size_t len = 1;

	pen_tail_init(&tail, 10);
	cr_expect_not_null(pen_tail_get(&tail, &len));
	cr_expect_eq(len, 0);
	pen_tail_add(&tail, "abc", 3);
	pen_tail_clear(&tail);
	(void)pen_tail_get(&tail, &len);
	cr_expect_eq(len, 0);
	pen_tail_fini(&tail);
}
