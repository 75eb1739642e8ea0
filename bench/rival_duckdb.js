// rival_duckdb - a CSV or NDJSON file into a table of a DuckDB file, durable at the end
//
//   NODE_PATH=… node rival_duckdb.js FILE DATABASE      prints {"rows":N,"version":"…"}
//
// As its manual advises for loading: one CREATE TABLE … AS over the file with types found by sampling, and no promise
// about the order of rows, which lets all processors read. The checkpoint writes what the log still holds to the database.
const { DuckDBInstance } = require("@duckdb/node-api");

async function main(file, database) {
	const quoted = "'" + file.replace(/'/g, "''") + "'";
	const from = file.endsWith(".csv") ? `read_csv(${quoted})` : `read_json(${quoted}, format = 'newline_delimited')`;
	const instance = await DuckDBInstance.create(database);
	const c = await instance.connect();

	await c.run("SET preserve_insertion_order = false");
	await c.run("CREATE TABLE records AS SELECT * FROM " + from);
	await c.run("CHECKPOINT");
	const [[rows, version]] = (await c.runAndReadAll("SELECT count(*), version() FROM records")).getRows();
	c.closeSync();
	instance.closeSync();
	console.log(JSON.stringify({ rows: Number(rows), version }));
}

main(process.argv[2], process.argv[3]).catch((e) => {
	console.error(String(e));
	process.exit(1);
});
