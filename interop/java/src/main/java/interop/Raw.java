package interop;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;

/** One remoting request without a client, for what clients refuse to send. */
final class Raw {
    private static final Pattern CODE = Pattern.compile("\"code\":(-?\\d+)");
    private static final Pattern REMARK = Pattern.compile("\"remark\":\"((?:[^\"\\\\]|\\\\.)*)\"");

    record Answer(int code, String remark, String body) {}

    private Raw() {}

    static Answer ask(String address, int code, Map<String, String> fields, byte[] body) throws IOException {
        String[] hostAndPort = address.split(":");
        try (Socket socket = connect(hostAndPort[0], Integer.parseInt(hostAndPort[1]))) {
            socket.setSoTimeout(10_000);
            String header = "{\"code\":" + code + ",\"flag\":0,\"language\":\"JAVA\",\"opaque\":1,\"version\":409,"
                + "\"serializeTypeCurrentRPC\":\"JSON\",\"extFields\":" + extFields(fields) + "}";
            byte[] head = header.getBytes(StandardCharsets.UTF_8);
            DataOutputStream out = new DataOutputStream(socket.getOutputStream());
            out.writeInt(4 + head.length + body.length);
            out.writeInt(head.length);
            out.write(head);
            out.write(body);
            out.flush();

            DataInputStream in = new DataInputStream(socket.getInputStream());
            int length = in.readInt();
            int headLength = in.readInt() & 0xFFFFFF;
            byte[] rest = in.readNBytes(length - 4);
            String answer = new String(rest, 0, headLength, StandardCharsets.UTF_8);
            Matcher found = CODE.matcher(answer);
            Check.that(found.find(), "a code in " + answer);
            Matcher remark = REMARK.matcher(answer);
            String told = new String(rest, headLength, rest.length - headLength, StandardCharsets.UTF_8);
            return new Answer(Integer.parseInt(found.group(1)), remark.find() ? remark.group(1) : "", told);
        }
    }

    /** Encrypted where the clients of this run are; it takes any server, as they do. */
    private static Socket connect(String host, int port) throws IOException {
        if (!Boolean.getBoolean("tls.enable")) {
            return new Socket(host, port);
        }
        try {
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(own(), new TrustManager[] {new Anyone()}, null);
            return context.getSocketFactory().createSocket(host, port);
        } catch (GeneralSecurityException error) {
            throw new IOException(error);
        }
    }

    /** The client's certificate of tls.properties, where that is named; keys are elliptic. */
    private static KeyManager[] own() throws IOException, GeneralSecurityException {
        String file = System.getProperty("tls.config.file");
        if (file == null) {
            return null;
        }
        Properties settings = new Properties();
        try (InputStream in = Files.newInputStream(Path.of(file))) {
            settings.load(in);
        }
        if (settings.getProperty("tls.client.keyPath") == null) {
            return null;
        }
        String pem = Files.readString(Path.of(settings.getProperty("tls.client.keyPath"))).replaceAll("-----[A-Z ]+-----|\\s", "");
        PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        try (InputStream in = Files.newInputStream(Path.of(settings.getProperty("tls.client.certPath")))) {
            Certificate certificate = CertificateFactory.getInstance("X.509").generateCertificate(in);
            store.setKeyEntry("client", key, new char[0], new Certificate[] {certificate});
        }
        KeyManagerFactory managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        managers.init(store, new char[0]);
        return managers.getKeyManagers();
    }

    private static final class Anyone extends X509ExtendedTrustManager {
        @Override public void checkClientTrusted(X509Certificate[] chain, String type) {}

        @Override public void checkServerTrusted(X509Certificate[] chain, String type) {}

        @Override public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) {}

        @Override public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket) {}

        @Override public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}

        @Override public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}

        @Override public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }

    /** SEND_MESSAGE_V2 as a client of any age sends it. */
    static Answer send(String address, String topic, byte[] body, String properties) throws IOException {
        Map<String, String> fields = new TreeMap<>(Map.of(
            "a", "P-raw", "b", topic, "c", Mq.TEMPLATE, "d", "4", "e", "0", "f", "0",
            "g", String.valueOf(System.currentTimeMillis()), "h", "0", "i", properties, "j", "0"));
        fields.putAll(Map.of("k", "false", "l", "16", "m", "false"));
        return ask(address, 310, fields, body);
    }

    private static String extFields(Map<String, String> fields) {
        Json json = new Json();
        new TreeMap<>(fields).forEach(json::put);
        return json.toString();
    }
}
