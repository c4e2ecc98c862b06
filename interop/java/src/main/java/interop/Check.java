package interop;

import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.Callable;

/** Assertions that say what was expected and what came. */
final class Check {
    private Check() {}

    static void that(boolean holds, String sentence) {
        if (!holds) {
            throw new AssertionError("expected: " + sentence);
        }
    }

    static void equal(Object actual, Object expected, String what) {
        if (!Objects.equals(actual, expected)) {
            throw new AssertionError(what + ": expected " + shorten(expected) + ", got " + shorten(actual));
        }
    }

    static void equalBytes(byte[] actual, byte[] expected, String what) {
        if (!Arrays.equals(actual, expected)) {
            throw new AssertionError(what + ": bytes differ (" + actual.length + " against " + expected.length + " expected)");
        }
    }

    static void between(long value, long low, long high, String what) {
        that(low <= value && value <= high, what + " in [" + low + ", " + high + "], but it is " + value);
    }

    /** The exception that the action must throw. */
    static <E extends Throwable> E thrown(Class<E> kind, Callable<?> action, String what) {
        Object result;
        try {
            result = action.call();
        } catch (Throwable thrown) {
            if (kind.isInstance(thrown)) {
                return kind.cast(thrown);
            }
            throw new AssertionError(what + ": expected " + kind.getSimpleName() + ", got " + thrown, thrown);
        }
        throw new AssertionError(what + ": expected " + kind.getSimpleName() + ", but it went well: " + result);
    }

    private static String shorten(Object value) {
        String text = String.valueOf(value);
        return text.length() <= 600 ? text : text.substring(0, 600) + "… (" + text.length() + " characters)";
    }
}
