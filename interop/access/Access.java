import org.apache.rocketmq.tools.command.MQAdminStartup;

/** mqadmin on servers with access control. Nothing lives there: who signs is read for each command. */
public final class Access implements Admin.Tool {
    public static void main(String[] args) throws Exception {
        Admin.serve(args[0], args[1], new Access());
    }

    @Override
    public void live(Admin admin) {
    }

    @Override
    public void run(String[] words) throws Exception {
        Admin.forgetCommands();
        MQAdminStartup.main0(words, null);
    }
}
