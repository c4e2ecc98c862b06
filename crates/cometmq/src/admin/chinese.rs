//! What `cometmq admin --help` and `config explain` say, in Chinese: `help.zh.txt` and `settings.zh.txt` have it, a line for
//! each, after a tab.

use clap::Command;
use clap::builder::StyledStr;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The same command with Chinese help. What has none keeps its English one.
pub fn help(command: Command) -> Command {
    let command = match command.get_about().and_then(chinese) {
        Some(about) => command.about(about),
        None => command,
    };
    let command = command.mut_args(|arg| match arg.get_help().and_then(chinese) {
        Some(help) => arg.help(help),
        None => arg,
    });
    command.mut_subcommands(help)
}

fn chinese(english: &StyledStr) -> Option<&'static str> {
    text(&english.to_string())
}

/// What a help text says, in Chinese.
pub fn text(english: &str) -> Option<&'static str> {
    static TEXTS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| lines(include_str!("help.zh.txt")).collect());
    TEXTS.get(english.trim_end_matches('.')).copied()
}

/// What a broker's setting means.
pub fn setting(key: &str) -> Option<&'static str> {
    lines(include_str!("settings.zh.txt")).find(|(known, _)| *known == key).map(|(_, meaning)| meaning)
}

fn lines(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.lines().filter_map(|line| line.split_once('\t'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Args;

    fn english(command: &Command, found: &mut Vec<String>) {
        let help = command.get_arguments().filter(|arg| arg.get_id() != "help").filter_map(|arg| arg.get_help());
        let texts = command.get_about().into_iter().chain(help);
        let values = command.get_arguments().filter(|arg| !arg.is_hide_set()).flat_map(|arg| arg.get_possible_values());
        let values = values.filter_map(|value| value.get_help().cloned()).collect::<Vec<_>>();
        let texts = texts.chain(&values);
        found.extend(texts.filter(|text| chinese(text).is_none()).map(ToString::to_string));
        command.get_subcommands().filter(|it| it.get_name() != "help").for_each(|it| english(it, found));
    }

    #[test]
    fn settings_are_explained_in_chinese_and_none_that_nobody_has() {
        let known = ::broker::config::manual::settings();
        let strange: Vec<_> =
            lines(include_str!("settings.zh.txt")).filter(|(key, _)| known.iter().all(|it| it.key != *key)).collect();
        assert!(strange.is_empty(), "{strange:?}");
        assert!(setting("fileReservedTime").is_some_and(|it| it.contains("小时")));
    }

    #[test]
    fn every_command_is_explained_in_chinese() {
        let command = crate::admin::AdminArgs::augment_args(Command::new("admin"));
        let mut found = Vec::new();
        english(&command, &mut found);
        assert!(found.is_empty(), "help.zh.txt lacks {found:#?}");
        let mut translated = help(command);
        let translated = translated.find_subcommand_mut("topicStatus").unwrap().render_help().to_string();
        assert!(translated.contains("主题各队列的消息范围"), "{translated}");
    }
}
