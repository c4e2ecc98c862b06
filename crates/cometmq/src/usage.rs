//! What a wrong command line is answered with, and the frame around help texts, in Chinese. In English clap says it.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use std::error::Error as _;
use std::io::{IsTerminal, Write};

/// Says in Chinese what clap says, and ends the process with clap's exit code.
pub fn exit_in_chinese(error: &Error) -> ! {
    let code = error.exit_code();
    let rendered = error.render();
    if error.use_stderr() {
        let text = sentence(error).unwrap_or_else(|| frame(&rendered.to_string()));
        let _ = std::io::stderr().write_all(text.as_bytes());
    } else {
        let mut out = std::io::stdout();
        let text = if out.is_terminal() { rendered.ansi().to_string() } else { rendered.to_string() };
        let _ = out.write_all(frame(&text).as_bytes());
    }
    std::process::exit(code)
}

/// Words that clap puts around help texts, and into them.
const FRAME: &[(&str, &str)] = &[
    ("Usage: ", "用法："),
    ("Commands:", "命令："),
    ("Options:", "选项："),
    ("Arguments:", "参数："),
    ("Encryption:", "加密："),
    ("Print this message or the help of the given subcommand(s)", "显示本帮助，或某个命令的帮助"),
    ("Print help (see more with '--help')", "显示帮助（--help 更详细）"),
    ("Print help (see a summary with '-h')", "显示帮助（-h 更简短）"),
    ("Print help", "显示帮助"),
    ("Print version", "显示版本"),
    ("[default: ", "[默认："),
    ("[possible values: ", "[可选值："),
    ("Possible values:", "可选值："),
];

fn frame(help: &str) -> String {
    let help = FRAME.iter().fold(help.to_owned(), |text, (english, chinese)| text.replace(english, chinese));
    // What one of the values means that a flag takes.
    let value = |line: &str| match line.split_once(": ") {
        Some((name, meaning)) if name.trim_start().starts_with("- ") => {
            crate::admin::chinese::text(meaning.trim()).map(|meaning| format!("{name}: {meaning}\n"))
        }
        _ => None,
    };
    help.split_inclusive('\n').map(|line| value(line).unwrap_or_else(|| line.to_owned())).collect()
}

/// What is wrong with a command line.
fn sentence(error: &Error) -> Option<String> {
    let of = |kind| match error.get(kind) {
        Some(ContextValue::None) | None => None,
        Some(value) => Some(value.to_string()),
    };
    let argument = of(ContextKind::InvalidArg).unwrap_or_default();
    let value = of(ContextKind::InvalidValue).filter(|value| !value.is_empty());
    let meant = |kind| of(kind).map(|name| format!("，是否想写 {name}？")).unwrap_or_default();
    let what = match error.kind() {
        ErrorKind::UnknownArgument => format!("未知的参数 {argument}{}", meant(ContextKind::SuggestedArg)),
        ErrorKind::InvalidSubcommand => {
            let name = of(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("未知的命令 {name}{}", meant(ContextKind::SuggestedSubcommand))
        }
        ErrorKind::MissingRequiredArgument => format!("缺少参数：{argument}"),
        ErrorKind::MissingSubcommand => "缺少命令".to_owned(),
        ErrorKind::ArgumentConflict => match of(ContextKind::PriorArg) {
            Some(prior) if prior != argument => format!("参数 {argument} 不能与 {prior} 同时使用"),
            _ => format!("参数 {argument} 只能给出一次"),
        },
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            let known = of(ContextKind::ValidValue).map(|known| format!("；可选值：{known}")).unwrap_or_default();
            match value {
                Some(value) => {
                    format!("参数 {argument} 的值 {value} 有误{known}{}", meant(ContextKind::SuggestedValue))
                }
                None => format!("参数 {argument} 缺少值{known}"),
            }
        }
        ErrorKind::ValueValidation => {
            let why = error.source().map(|why| format!("：{}", reason(&why.to_string()))).unwrap_or_default();
            format!("参数 {argument} 的值 {} 有误{why}", value.unwrap_or_default())
        }
        ErrorKind::TooManyValues => format!("参数 {argument} 的值 {} 多余", value.unwrap_or_default()),
        _ => return None,
    };
    let usage = of(ContextKind::Usage).map(|usage| format!("\n\n{}", frame(&usage))).unwrap_or_default();
    Some(format!("cometmq: {what}{usage}\n\n更多信息请用 --help\n"))
}

/// Why a value can't be, as the standard library and [`crate::admin`] say it.
fn reason(english: &str) -> String {
    let known = [
        ("invalid digit found in string", "应为整数"),
        ("cannot parse integer from empty string", "应为整数"),
        ("number too large to fit in target type", "数字太大"),
        ("number too small to fit in target type", "数字太小"),
        ("invalid float literal", "应为数字"),
        ("provided string was not `true` or `false`", "应为 true 或 false"),
        ("is no time", "应为 1970 年以来的毫秒数、now、-2h（两小时前）或 2026-11-21#10:00:00:000"),
        ("is no number of seconds", "应为 0.1 到 86400 之间的秒数"),
        ("is no charset", "未知的字符集；例如 UTF-8、GBK、Big5"),
        ("a number with s, m, h or d behind it", "应为数字加单位 s、m、h 或 d，例如 30m、12h、7d"),
    ];
    let found = known.iter().find(|(text, _)| english.contains(text));
    if let Some((_, chinese)) = found {
        return (*chinese).to_owned();
    }
    // clap's own: `70000 is not in 0..=65535`.
    match english.split_once(" is not in ") {
        Some((_, range)) => format!("应在 {range} 之内"),
        None => english.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn said(words: &str) -> String {
        let words = std::iter::once("cometmq").chain(words.split(' '));
        let error = crate::Command::command().try_get_matches_from(words).unwrap_err();
        sentence(&error).unwrap()
    }

    #[test]
    fn a_wrong_command_line_is_answered_in_chinese() {
        for (words, why) in [
            ("admn", "未知的命令 admn，是否想写 admin？"),
            ("admin topicRoute -t a --topc b", "未知的参数 --topc，是否想写 --topic？"),
            ("admin topicRoute", "缺少参数：--topic <TOPIC>"),
            ("admin updateTopic -t a -b b -r many", "的值 many 有误：应为整数"),
            ("admin topicList -o xml", "的值 xml 有误；可选值：table, json, yaml"),
            ("admin resetOffsetByTime -g g -t t -s someday", "有误：应为 1970 年以来的毫秒数"),
            ("admin updateTopic -t a -b b -c c", "不能与"),
            ("admin topicList -o", "缺少值"),
        ] {
            let said = said(words);
            assert!(said.contains(why) && said.ends_with("更多信息请用 --help\n"), "{words}: {said}");
            assert!(!said.contains("Usage:"), "{said}");
        }
    }
}
