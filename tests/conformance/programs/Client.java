// Asks a server for everything that a client can verify, by java.net.http over HTTP/2 and TLS.
// (It speaks HTTP/2 on clear text by Upgrade only, which no server has to know since RFC 9113.)
//
//   java Client.java URL CA.pem

import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public final class Client {
    static final int SIZE = 10_000_000;
    static final int CONCURRENT = 100;

    final String base;
    final HttpClient http;
    final AtomicInteger asked = new AtomicInteger();
    final Set<String> ports = ConcurrentHashMap.newKeySet();

    Client(String base, String authority) throws Exception {
        this.base = base;
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null);
        try (FileInputStream pem = new FileInputStream(authority)) {
            trusted.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(trusted);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(null, managers.getTrustManagers(), null);
        http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).sslContext(tls).build();
    }

    CompletableFuture<HttpResponse<byte[]>> start(String method, String path, BodyPublisher content) {
        HttpRequest request = HttpRequest.newBuilder(URI.create(base + path))
            .method(method, content).timeout(Duration.ofMinutes(1)).build();
        asked.incrementAndGet();
        return http.sendAsync(request, BodyHandlers.ofByteArray()).thenApply(response -> {
            expect(response.version() == HttpClient.Version.HTTP_2, path + " by " + response.version());
            ports.add(response.headers().firstValue("x-client-port").orElse("none"));
            return response;
        });
    }

    HttpResponse<byte[]> ask(String method, String path, BodyPublisher content) {
        return start(method, path, content).join();
    }

    void run() throws Exception {
        HttpResponse<byte[]> hello = ask("GET", "/hello", BodyPublishers.noBody());
        expect(new String(hello.body()).equals("hello\n"), "body of /hello");
        expect(hello.headers().allValues("set-cookie").equals(List.of("a=1", "b=2")), "repeated fields");
        expect(hello.headers().firstValue("x-empty").orElse("lost").isEmpty(), "a field without value is lost");
        expect(ask("HEAD", "/hello", BodyPublishers.noBody()).body().length == 0, "content after HEAD");
        for (int status : new int[] {204, 304, 404, 503}) {
            int got = ask("GET", "/status/" + status, BodyPublishers.noBody()).statusCode();
            expect(got == status, "status " + got + " instead of " + status);
        }

        byte[] numbers = new byte[SIZE];
        for (int at = 0; at < SIZE; at++) numbers[at] = (byte) (at % 251);
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(numbers);
        String sum = SIZE + " " + HexFormat.of().formatHex(digest);
        String known = new String(ask("POST", "/sum", BodyPublishers.ofByteArray(numbers)).body());
        expect(known.equals(sum), "upload of known length: " + known);
        BodyPublisher streamed = BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(numbers));
        String unknown = new String(ask("POST", "/sum", streamed).body());
        expect(unknown.equals(sum), "upload of unknown length: " + unknown);
        byte[] download = ask("GET", "/numbers?size=" + SIZE, BodyPublishers.noBody()).body();
        expect(Arrays.equals(download, numbers), "download of " + download.length + " bytes differs");

        List<CompletableFuture<Void>> waiting = new ArrayList<>();
        for (int number = 0; number < CONCURRENT; number++) {
            String expected = "resource " + number + "\n";
            waiting.add(start("GET", "/resource/" + number, BodyPublishers.noBody())
                .thenAccept(response -> expect(new String(response.body()).equals(expected), "body of " + expected)));
        }
        CompletableFuture.allOf(waiting.toArray(CompletableFuture[]::new)).join();
        expect(ports.size() == 1, ports.size() + " connections instead of 1");
        System.out.println(asked + " requests, " + ports.size() + " connection");
    }

    static void expect(boolean condition, String what) {
        if (!condition) throw new IllegalStateException(what);
    }

    public static void main(String[] arguments) {
        try {
            new Client(arguments[0], arguments[1]).run();
        } catch (Exception error) {
            Throwable cause = error.getCause() == null ? error : error.getCause();
            System.err.println(cause);
            System.exit(1);
        }
    }
}
