package interop;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;

/**
 * Apache's `DefaultMQAdminExt`, on which `mqadmin` runs, of the version on the classpath. By name: its results moved to other packages
 * from 4.x to 5.x.
 */
final class Tools {
    private final Object admin;

    private Tools(Object admin) {
        this.admin = admin;
    }

    static Tools start(Mq mq) throws Exception {
        Tools tools = new Tools(Class.forName("org.apache.rocketmq.tools.admin.DefaultMQAdminExt").getConstructor().newInstance());
        tools.call("setNamesrvAddr", mq.namesrv);
        tools.call("setInstanceName", Mq.fresh("i"));
        tools.call("start");
        mq.atEnd(() -> {
            try {
                tools.call("shutdown");
            } catch (Exception atTheEnd) {
                atTheEnd.printStackTrace();
            }
        });
        return tools;
    }

    boolean has(String name) {
        return Arrays.stream(admin.getClass().getMethods()).anyMatch(method -> method.getName().equals(name));
    }

    @SuppressWarnings("unchecked")
    <T> T call(String name, Object... arguments) throws Exception {
        return (T) invoke(admin, name, arguments);
    }

    /** What a getter says, and a getter of that, and so on. */
    @SuppressWarnings("unchecked")
    static <T> T get(Object from, String... getters) throws Exception {
        for (String getter : getters) {
            from = invoke(from, getter);
        }
        return (T) from;
    }

    private static Object invoke(Object target, String name, Object... arguments) throws Exception {
        for (Method method : target.getClass().getMethods()) {
            if (method.getName().equals(name) && fits(method.getParameterTypes(), arguments)) {
                try {
                    return method.invoke(target, arguments);
                } catch (InvocationTargetException thrown) {
                    if (thrown.getCause() instanceof Exception cause) {
                        throw cause;
                    }
                    throw thrown;
                }
            }
        }
        throw new NoSuchMethodException(target.getClass().getSimpleName() + "." + name + Arrays.toString(arguments));
    }

    private static boolean fits(Class<?>[] parameters, Object[] arguments) {
        if (parameters.length != arguments.length) {
            return false;
        }
        for (int i = 0; i < parameters.length; i++) {
            Class<?> parameter = parameters[i];
            Class<?> boxed = parameter == int.class ? Integer.class : parameter == long.class ? Long.class : parameter == boolean.class ? Boolean.class : parameter;
            if (arguments[i] != null && !boxed.isInstance(arguments[i])) {
                return false;
            }
        }
        return true;
    }
}
