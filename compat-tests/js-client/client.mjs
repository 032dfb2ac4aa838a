// The AWS SDK for JavaScript v3 as compat-tests/driver.py drives it: one JSON request a line, one JSON answer a line.
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import * as sdk from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';

// Endpoint, region and keys come from the environment, as the SDK itself reads them.
const s3 = new sdk.S3Client({ forcePathStyle: true, maxAttempts: 1 });

const described = (got) => ({ etag: got.ETag, size: got.ContentLength, type: got.ContentType, metadata: got.Metadata });

const acts = {
  create_bucket: async ({ bucket }) => { await s3.send(new sdk.CreateBucketCommand({ Bucket: bucket })); return {}; },
  delete_bucket: async ({ bucket }) => { await s3.send(new sdk.DeleteBucketCommand({ Bucket: bucket })); return {}; },

  async put({ bucket, key, file, type, metadata, if_match, if_none_match }) {
    const conditional = if_match ?? if_none_match;
    const done = await s3.send(new sdk.PutObjectCommand({
      // A stream is sent in chunks with a trailer, a buffer with its length.
      Bucket: bucket, Key: key, Body: conditional ? await readFile(file) : createReadStream(file), ContentType: type, Metadata: metadata,
      IfMatch: if_match, IfNoneMatch: if_none_match,
    }));
    return { etag: done.ETag };
  },

  async get({ bucket, key, file, range }) {
    const got = await s3.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: key, Range: range }));
    await pipeline(got.Body, createWriteStream(file));
    return described(got);
  },

  head: async ({ bucket, key }) => described(await s3.send(new sdk.HeadObjectCommand({ Bucket: bucket, Key: key }))),

  async list({ bucket, prefix, delimiter }) {
    const keys = [], prefixes = [];
    for await (const page of sdk.paginateListObjectsV2({ client: s3 }, { Bucket: bucket, Prefix: prefix, Delimiter: delimiter })) {
      keys.push(...(page.Contents ?? []).map((entry) => entry.Key));
      prefixes.push(...(page.CommonPrefixes ?? []).map((entry) => entry.Prefix));
    }
    return { keys, prefixes };
  },

  async upload({ bucket, key, file, part }) {
    const upload = new Upload({ client: s3, partSize: part, params: { Bucket: bucket, Key: key, Body: createReadStream(file) } });
    return { etag: (await upload.done()).ETag };
  },

  async copy({ bucket, key, from }) {
    const done = await s3.send(new sdk.CopyObjectCommand({ Bucket: bucket, Key: key, CopySource: from }));
    return { etag: done.CopyObjectResult.ETag };
  },

  delete: async ({ bucket, key }) => { await s3.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key: key })); return {}; },

  async delete_many({ bucket, keys }) {
    const named = keys.map((key) => ({ Key: key }));
    const done = await s3.send(new sdk.DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: named } }));
    return { deleted: (done.Deleted ?? []).length, errors: (done.Errors ?? []).length };
  },

  presign: async ({ bucket, key }) => ({ url: await getSignedUrl(s3, new sdk.GetObjectCommand({ Bucket: bucket, Key: key })) }),

  // `threads` race to create a counter and then to increment it, each until it won `steps` times.
  async count({ bucket, key, threads, steps }) {
    const tally = { created: 0, won: 0, lost: 0 };
    const write = (number, condition) => won(s3.send(new sdk.PutObjectCommand({ Bucket: bucket, Key: key, Body: String(number), ...condition })));
    const alone = async () => {
      if (await write(0, { IfNoneMatch: '*' })) tally.created += 1;
      for (let mine = 0; mine < steps;) {
        const seen = await s3.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: key }));
        const number = Number(await seen.Body.transformToString());
        if (await write(number + 1, { IfMatch: seen.ETag })) { mine += 1; tally.won += 1; } else tally.lost += 1;
      }
    };
    await Promise.all(Array.from({ length: threads }, alone));
    return tally;
  },
};

async function won(request) {
  try {
    await request;
    return true;
  } catch (error) {
    if (error.name === 'PreconditionFailed' || error.name === 'ConditionalRequestConflict') return false;
    throw error;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let said;
  try {
    said = await acts[asked.do](asked);
  } catch (error) {
    said = { error: error.name, status: error.$metadata?.httpStatusCode ?? 0, message: String(error.stack) };
  }
  console.log(JSON.stringify(said));
}
