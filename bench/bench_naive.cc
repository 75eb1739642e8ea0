/* SPDX-License-Identifier: MIT */
/*
 * bench_naive - the loader that people write themselves, to be measured beside penstock
 *
 *	bench_naive naive FILE DIR seq|id     getline, simdjson (strict), mdb_put, 10,000 a transaction
 *	bench_naive bare FILE DIR seq         the same records appended from memory: what LMDB alone can do
 *
 * Default LMDB flags. Prints one JSON line. `naive seq` appends by line number (MDB_APPEND), `naive id`
 * puts by the top-level "id" in the order of the file.
 */
#include <lmdb.h>
#include <simdjson.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

static const size_t batch = 10000;

static void must(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "bench_naive: %s: %s\n", what, mdb_strerror(rc));
	exit(1);
}

static double now()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct sink {
	MDB_env *env = nullptr;
	MDB_txn *txn = nullptr;
	MDB_dbi dbi = 0;
	size_t in_txn = 0;

	explicit sink(const char *dir)
	{
		mkdir(dir, 0700);
		must(mdb_env_create(&env), "create");
		must(mdb_env_set_mapsize(env, (size_t)64 << 30), "map");
		must(mdb_env_open(env, dir, 0, 0600), "open");
		must(mdb_txn_begin(env, nullptr, 0, &txn), "begin");
		must(mdb_dbi_open(txn, nullptr, 0, &dbi), "dbi");
	}

	void put(const void *key, size_t key_len, const void *value, size_t len, unsigned flags)
	{
		MDB_val k = { key_len, const_cast<void *>(key) }, v = { len, const_cast<void *>(value) };

		must(mdb_put(txn, dbi, &k, &v, flags), "put");
		if (++in_txn < batch)
			return;
		in_txn = 0;
		must(mdb_txn_commit(txn), "commit");
		must(mdb_txn_begin(env, nullptr, 0, &txn), "begin");
	}

	void end()
	{
		must(mdb_txn_commit(txn), "commit");
		mdb_env_close(env);
	}
};

static uint64_t naive(FILE *f, sink &to, bool by_id)
{
	simdjson::dom::parser parser;
	std::vector<char> padded(1 << 20);
	char *line = nullptr;
	size_t cap = 0;
	uint64_t n = 0;
	ssize_t len;

	while ((len = getline(&line, &cap, f)) > 0) {
		simdjson::dom::element record;

		if (line[len - 1] == '\n')
			len--;
		if (padded.size() < (size_t)len + simdjson::SIMDJSON_PADDING)
			padded.resize((size_t)len + simdjson::SIMDJSON_PADDING);
		memcpy(padded.data(), line, (size_t)len);
		if (parser.parse(padded.data(), (size_t)len, false).get(record))
			continue;
		if (by_id) {
			std::string_view id;

			if (!record["id"].get(id))
				to.put(id.data(), id.size(), line, (size_t)len, 0);
		} else {
			uint64_t key = __builtin_bswap64(n);

			to.put(&key, sizeof key, line, (size_t)len, MDB_APPEND);
		}
		n++;
	}
	free(line);
	return n;
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: bench_naive naive|bare FILE DIR seq|id\n");
		return 2;
	}
	FILE *f = fopen(argv[2], "re");
	if (!f) {
		perror(argv[2]);
		return 1;
	}
	double began = now();
	sink to(argv[3]);
	uint64_t n = 0;

	if (!strcmp(argv[1], "bare")) {
		std::vector<std::string> records;
		char *line = nullptr;
		size_t cap = 0;
		ssize_t len;

		while ((len = getline(&line, &cap, f)) > 0)
			records.emplace_back(line, (size_t)len - (line[len - 1] == '\n'));
		free(line);
		began = now();
		for (const std::string &r : records) {
			uint64_t key = __builtin_bswap64(n++);

			to.put(&key, sizeof key, r.data(), r.size(), MDB_APPEND);
		}
	} else {
		n = naive(f, to, !strcmp(argv[4], "id"));
	}
	to.end();
	double s = now() - began;
	printf("{\"records\":%llu,\"seconds\":%.4f,\"per_s\":%.0f}\n", (unsigned long long)n, s,
	       (double)n / s);
	return 0;
}
