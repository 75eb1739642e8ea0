// rival_bullmq - BullMQ on a Redis at 127.0.0.1:PORT: node rival_bullmq.js work|add PORT ITEMS
//
// work: ITEMS jobs are queued first, then a worker of concurrency 64 that does nothing takes them; from its start to the last
// completion. add: addBulk of 1,000 jobs a call. One JSON line.
const { Queue, Worker } = require('bullmq');
const [what, port, items] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };

async function fill(queue) {
  for (let at = 0; at < items; at += 1000) {
    const jobs = [];
    for (let i = at; i < Math.min(at + 1000, items); i++) jobs.push({ name: 'j', data: { n: i } });
    await queue.addBulk(jobs);
  }
}

(async () => {
  const queue = new Queue('bench', { connection });
  await queue.obliterate({ force: true });
  let began = process.hrtime.bigint();
  await fill(queue);
  if (what === 'work') {
    let done = 0;
    began = process.hrtime.bigint();
    await new Promise((resolve) => {
      const worker = new Worker('bench', async () => 0, { connection, concurrency: 64 });
      worker.on('completed', () => { if (++done === items) worker.close().then(resolve); });
    });
  }
  console.log(JSON.stringify({ seconds: Number(process.hrtime.bigint() - began) / 1e9 }));
  await queue.obliterate({ force: true });
  await queue.close();
})();
