// The AWS SDK for Java v2 as compat-tests/driver.py drives it: one JSON request a line, one JSON answer a line.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;

import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.ResponseBytes;
import software.amazon.awssdk.core.ResponseInputStream;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.protocols.jsoncore.JsonWriter;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3Configuration;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.GetObjectResponse;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.ListObjectsV2Response;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;

public final class Client {
    private static final URI ENDPOINT = URI.create(System.getenv("AWS_ENDPOINT_URL"));
    private static final Region REGION = Region.of(System.getenv("AWS_REGION"));
    private static final StaticCredentialsProvider KEYS = StaticCredentialsProvider.create(
        AwsBasicCredentials.create(System.getenv("AWS_ACCESS_KEY_ID"), System.getenv("AWS_SECRET_ACCESS_KEY")));
    private static final S3Client S3 = S3Client.builder()
        .endpointOverride(ENDPOINT).region(REGION).credentialsProvider(KEYS).forcePathStyle(true)
        .overrideConfiguration(o -> o.retryStrategy(DefaultRetryStrategy.doNotRetry()))
        .build();

    private interface Act {
        Map<String, Object> perform(Request asked) throws Exception;
    }

    /** What was asked; what is absent is null. */
    private record Request(JsonNode node) {
        String text(String name) {
            return node.field(name).map(JsonNode::text).orElse(null);
        }

        int number(String name) {
            return Integer.parseInt(node.field(name).orElseThrow().asNumber());
        }

        Map<String, String> texts(String name) {
            Map<String, String> found = new HashMap<>();
            node.field(name).ifPresent(all -> all.asObject().forEach((key, value) -> found.put(key, value.text())));
            return found;
        }

        Path file() {
            return Path.of(text("file"));
        }
    }

    private static final Map<String, Act> ACTS = Map.ofEntries(
        Map.entry("create_bucket", asked -> done(S3.createBucket(b -> b.bucket(asked.text("bucket"))))),
        Map.entry("delete_bucket", asked -> done(S3.deleteBucket(b -> b.bucket(asked.text("bucket"))))),
        Map.entry("put", Client::put),
        Map.entry("get", Client::get),
        Map.entry("head", Client::head),
        Map.entry("list", Client::list),
        Map.entry("upload", Client::upload),
        Map.entry("copy", Client::copy),
        Map.entry("delete", asked -> done(S3.deleteObject(b -> b.bucket(asked.text("bucket")).key(asked.text("key"))))),
        Map.entry("delete_many", Client::deleteMany),
        Map.entry("presign", Client::presign),
        Map.entry("count", Client::count));

    public static void main(String[] arguments) throws IOException {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Request asked = new Request(JsonNode.parser().parse(line));
            Map<String, Object> said;
            try {
                said = ACTS.get(asked.text("do")).perform(asked);
            } catch (Exception error) {
                said = refusal(error);
            }
            out.println(json(said));
        }
    }

    private static Map<String, Object> done(Object ignored) {
        return Map.of();
    }

    private static Map<String, Object> put(Request asked) {
        var stored = S3.putObject(b -> b.bucket(asked.text("bucket")).key(asked.text("key")).contentType(asked.text("type"))
            .metadata(asked.texts("metadata")).ifMatch(asked.text("if_match")).ifNoneMatch(asked.text("if_none_match")),
            RequestBody.fromFile(asked.file()));
        return Map.of("etag", stored.eTag());
    }

    private static Map<String, Object> get(Request asked) throws IOException {
        try (ResponseInputStream<GetObjectResponse> body =
                S3.getObject(b -> b.bucket(asked.text("bucket")).key(asked.text("key")).range(asked.text("range")))) {
            Files.deleteIfExists(asked.file());
            Files.copy(body, asked.file());
            GetObjectResponse got = body.response();
            return Map.of("etag", got.eTag(), "size", got.contentLength(), "type", got.contentType(), "metadata", got.metadata());
        }
    }

    private static Map<String, Object> head(Request asked) {
        HeadObjectResponse got = S3.headObject(b -> b.bucket(asked.text("bucket")).key(asked.text("key")));
        return Map.of("etag", got.eTag(), "size", got.contentLength(), "type", got.contentType(), "metadata", got.metadata());
    }

    private static Map<String, Object> list(Request asked) {
        List<String> keys = new ArrayList<>(), prefixes = new ArrayList<>();
        for (ListObjectsV2Response page : S3.listObjectsV2Paginator(
                b -> b.bucket(asked.text("bucket")).prefix(asked.text("prefix")).delimiter(asked.text("delimiter")))) {
            page.contents().forEach(entry -> keys.add(entry.key()));
            page.commonPrefixes().forEach(entry -> prefixes.add(entry.prefix()));
        }
        return Map.of("keys", keys, "prefixes", prefixes);
    }

    private static Map<String, Object> upload(Request asked) throws IOException {
        String bucket = asked.text("bucket"), key = asked.text("key");
        String id = S3.createMultipartUpload(b -> b.bucket(bucket).key(key)).uploadId();
        List<CompletedPart> parts = new ArrayList<>();
        try (InputStream body = Files.newInputStream(asked.file())) {
            for (byte[] piece = next(body, asked); piece.length > 0; piece = next(body, asked)) {
                int number = parts.size() + 1;
                var sent = S3.uploadPart(b -> b.bucket(bucket).key(key).uploadId(id).partNumber(number), RequestBody.fromBytes(piece));
                parts.add(CompletedPart.builder().partNumber(number).eTag(sent.eTag()).checksumCRC32(sent.checksumCRC32()).build());
            }
        }
        var whole = S3.completeMultipartUpload(b -> b.bucket(bucket).key(key).uploadId(id).multipartUpload(m -> m.parts(parts)));
        return Map.of("etag", whole.eTag());
    }

    private static byte[] next(InputStream body, Request asked) throws IOException {
        return body.readNBytes(asked.number("part"));
    }

    private static Map<String, Object> copy(Request asked) {
        String[] from = asked.text("from").split("/", 2);
        var copied = S3.copyObject(b -> b.sourceBucket(from[0]).sourceKey(from[1])
            .destinationBucket(asked.text("bucket")).destinationKey(asked.text("key")));
        return Map.of("etag", copied.copyObjectResult().eTag());
    }

    private static Map<String, Object> deleteMany(Request asked) {
        List<ObjectIdentifier> named = asked.node().field("keys").orElseThrow().asArray().stream()
            .map(key -> ObjectIdentifier.builder().key(key.text()).build()).toList();
        var gone = S3.deleteObjects(b -> b.bucket(asked.text("bucket")).delete(d -> d.objects(named)));
        return Map.of("deleted", gone.deleted().size(), "errors", gone.errors().size());
    }

    private static Map<String, Object> presign(Request asked) {
        try (S3Presigner presigner = S3Presigner.builder().endpointOverride(ENDPOINT).region(REGION).credentialsProvider(KEYS)
                .serviceConfiguration(S3Configuration.builder().pathStyleAccessEnabled(true).build()).build()) {
            var signed = presigner.presignGetObject(p -> p.signatureDuration(java.time.Duration.ofMinutes(1))
                .getObjectRequest(g -> g.bucket(asked.text("bucket")).key(asked.text("key"))));
            return Map.of("url", signed.url().toString());
        }
    }

    /** `threads` race to create a counter and then to increment it, each until it won `steps` times. */
    private static Map<String, Object> count(Request asked) throws Exception {
        AtomicInteger created = new AtomicInteger(), won = new AtomicInteger(), lost = new AtomicInteger();
        Callable<Void> alone = () -> {
            created.addAndGet(write(asked, 0, null) ? 1 : 0);
            for (int mine = 0; mine < asked.number("steps");) {
                ResponseBytes<GetObjectResponse> seen =
                    S3.getObjectAsBytes(b -> b.bucket(asked.text("bucket")).key(asked.text("key")));
                boolean first = write(asked, Integer.parseInt(seen.asUtf8String()) + 1, seen.response().eTag());
                (first ? won : lost).incrementAndGet();
                mine += first ? 1 : 0;
            }
            return null;
        };
        try (var threads = Executors.newFixedThreadPool(asked.number("threads"))) {
            List<Callable<Void>> all = java.util.Collections.nCopies(asked.number("threads"), alone);
            for (Future<Void> one : threads.invokeAll(all)) {
                one.get();
            }
        }
        return Map.of("created", created.get(), "won", won.get(), "lost", lost.get());
    }

    /** False when another was first. Without an ETag the object must not be there yet. */
    private static boolean write(Request asked, int number, String ifMatch) {
        try {
            S3.putObject(b -> b.bucket(asked.text("bucket")).key(asked.text("key")).ifMatch(ifMatch)
                .ifNoneMatch(ifMatch == null ? "*" : null), RequestBody.fromString(Integer.toString(number)));
            return true;
        } catch (S3Exception error) {
            String code = error.awsErrorDetails().errorCode();
            if ("PreconditionFailed".equals(code) || "ConditionalRequestConflict".equals(code)) {
                return false;
            }
            throw error;
        }
    }

    private static Map<String, Object> refusal(Exception error) {
        Map<String, Object> said = new LinkedHashMap<>(Map.of("error", "none", "status", 0, "message", error.toString()));
        if (error instanceof S3Exception answered) {
            said.put("status", answered.statusCode());
            String code = answered.awsErrorDetails() == null ? null : answered.awsErrorDetails().errorCode();
            said.put("error", code == null ? "none" : code);
        }
        return said;
    }

    private static String json(Object value) {
        JsonWriter writer = JsonWriter.create();
        write(writer, value);
        return new String(writer.getBytes(), StandardCharsets.UTF_8);
    }

    private static void write(JsonWriter writer, Object value) {
        if (value instanceof Map<?, ?> fields) {
            writer.writeStartObject();
            fields.forEach((name, field) -> {
                writer.writeFieldName((String) name);
                write(writer, field);
            });
            writer.writeEndObject();
        } else if (value instanceof List<?> items) {
            writer.writeStartArray();
            items.forEach(item -> write(writer, item));
            writer.writeEndArray();
        } else if (value instanceof Number number) {
            writer.writeValue(number.longValue());
        } else {
            writer.writeValue((String) value);
        }
    }
}
