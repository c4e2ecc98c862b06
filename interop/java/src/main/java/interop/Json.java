package interop;

import java.util.Map;

/** A flat JSON object, written by hand: numbers, texts, and maps of texts. */
final class Json {
    private final StringBuilder text = new StringBuilder("{");

    Json put(String name, long value) {
        name(name).append(value);
        return this;
    }

    Json put(String name, String value) {
        quote(name(name), value);
        return this;
    }

    Json put(String name, Map<String, String> map) {
        Json inner = new Json();
        map.forEach(inner::put);
        name(name).append(inner);
        return this;
    }

    private StringBuilder name(String name) {
        if (text.length() > 1) {
            text.append(',');
        }
        return quote(text, name).append(':');
    }

    private static StringBuilder quote(StringBuilder out, String value) {
        out.append('"');
        for (char c : value.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"');
    }

    @Override
    public String toString() {
        return text + "}";
    }
}
