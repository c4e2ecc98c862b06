use crate::Running;
use crate::client::{Client, bodies, config, properties};
use broker::Config;
use protocol::command::Command;

/// A pull that goes by the heartbeat's subscription (`expression` is `None`) or brings its own.
#[derive(Clone, Copy)]
struct SqlPull<'a> {
    offset: i64,
    expression: Option<&'a str>,
    version: i64,
    hold_millis: i64,
}

impl SqlPull<'_> {
    const FIRST: SqlPull<'static> = SqlPull { offset: 0, expression: None, version: 0, hold_millis: 0 };

    fn send(self, client: &mut Client) {
        let flag = if self.expression.is_some() { 4 } else { 0 } | if self.hold_millis > 0 { 2 } else { 0 };
        let numbers = [self.offset, flag, self.version, self.hold_millis].map(|number| number.to_string());
        let mut fields = vec![
            ("consumerGroup", "CG"),
            ("topic", "T"),
            ("queueId", "0"),
            ("queueOffset", &numbers[0]),
            ("maxMsgNums", "32"),
            ("sysFlag", &numbers[1]),
            ("commitOffset", "0"),
            ("subVersion", &numbers[2]),
            ("suspendTimeoutMillis", &numbers[3]),
            ("expressionType", "SQL92"),
        ];
        fields.extend(self.expression.map(|expression| ("subscription", expression)));
        client.send(11, &fields, b"");
    }

    fn ask(self, client: &mut Client) -> Command {
        self.send(client);
        client.answer()
    }
}

fn next(answer: &Command) -> (i32, Option<&str>) {
    (answer.code, answer.ext.get("nextBeginOffset"))
}

#[test]
fn messages_are_filtered_by_their_properties() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for n in 0..10 {
        client.send_message("T", 0, &properties(&format!("n={n};city=杭州;")), format!("m{n}").as_bytes());
    }
    assert_eq!(client.subscribe("CG", ("T", "SQL92", "n >= 3 AND city = '杭州' AND n <> 5", 7)).code, 0);
    let answer = SqlPull { version: 7, ..SqlPull::FIRST }.ask(&mut client);
    assert_eq!(
        (bodies(&answer), next(&answer)),
        (["m3", "m4", "m6", "m7", "m8", "m9"].map(String::from).to_vec(), (0, Some("10")))
    );

    let own = SqlPull { expression: Some("n BETWEEN 1 AND 2"), ..SqlPull::FIRST };
    assert_eq!(bodies(&own.ask(&mut client)), ["m1", "m2"], "an expression in the pull goes before");
    let none = SqlPull { expression: Some("n > 100"), ..SqlPull::FIRST };
    assert_eq!(next(&none.ask(&mut client)), (20, Some("10")));
}

#[test]
fn a_held_pull_ends_with_the_first_message_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let (mut consumer, mut producer) = (running.client(), running.client());
    producer.send_message("T", 1, "", b"makes the topic");
    let pull = SqlPull { expression: Some("n = 1"), hold_millis: 5000, ..SqlPull::FIRST };
    pull.send(&mut consumer);
    running.until_held(1);
    producer.send_message("T", 0, &properties("n=0;"), b"no");
    producer.send_message("T", 0, &properties("n=1;"), b"yes");
    let answer = consumer.answer();
    assert_eq!((bodies(&answer), next(&answer)), (vec!["yes".to_owned()], (0, Some("2"))));

    SqlPull { offset: 2, hold_millis: 1000, ..pull }.send(&mut consumer);
    running.until_held(1);
    producer.send_message("T", 0, &properties("n=0;"), b"no");
    assert_eq!(next(&consumer.answer()), (20, Some("3")), "what came is passed over");
}

#[test]
fn a_wrong_expression_is_refused_at_the_check_and_when_it_pulls() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.send_message("T", 0, "", b"x");
    let check = |client: &mut Client, expression_type: &str, expression: &str| {
        let subscription =
            format!(r#"{{"topic":"T","subString":"{expression}","expressionType":"{expression_type}"}}"#);
        let body = format!(r#"{{"clientId":"c","group":"CG","subscriptionData":{subscription}}}"#);
        client.ask(46, &[], body.as_bytes())
    };
    assert_eq!(check(&mut client, "SQL92", "n > 1").code, 0);
    for (expression_type, expression, named) in
        [("SQL92", "n > 'a'", "greater or less"), ("SQL92", "", "it ends"), ("GROOVY", "n > 1", "GROOVY")]
    {
        let answer = check(&mut client, expression_type, expression);
        assert_eq!(answer.code, 23, "{answer:?}");
        assert!(answer.remark.as_ref().unwrap().contains(named), "{answer:?}");
    }
    assert_eq!(client.subscribe("CG", ("T", "SQL92", "n > 'a'", 1)).code, 0, "a heartbeat with it is welcome");
    let answer = SqlPull::FIRST.ask(&mut client);
    assert_eq!(answer.code, 27);
    assert!(answer.remark.unwrap().contains("character 8"));
    let own = SqlPull { expression: Some("n >"), ..SqlPull::FIRST };
    assert_eq!(own.ask(&mut client).code, 23);
}

#[test]
fn nothing_passes_before_the_heartbeat_has_brought_the_expression() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    client.send_message("T", 0, &properties("n=1;"), b"one");
    client.subscribe("CG", ("T", "TAG", "*", 1));
    let newer = SqlPull { version: 2, ..SqlPull::FIRST };
    assert_eq!(newer.ask(&mut client).code, 25, "by tags until now");
    client.subscribe("CG", ("T", "SQL92", "n = 1", 2));
    assert_eq!(bodies(&newer.ask(&mut client)), ["one"]);
    assert_eq!(SqlPull { version: 3, ..SqlPull::FIRST }.ask(&mut client).code, 25);
    client.subscribe("CG", ("T", "SQL92", "n = 2", 3));
    assert_eq!(next(&newer.ask(&mut client)), (20, Some("1")), "the newest expression holds for the group");
}

#[test]
fn an_operator_can_forbid_it() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Config { property_filter: false, ..config(dir.path()) });
    let mut client = running.client();
    client.send_message("T", 0, "", b"x");
    client.subscribe("CG", ("T", "SQL92", "n = 1", 1));
    for pull in [SqlPull::FIRST, SqlPull { expression: Some("n = 1"), ..SqlPull::FIRST }] {
        let answer = pull.ask(&mut client);
        assert_eq!(answer.code, 1);
        let remark = answer.remark.unwrap();
        assert!(remark.starts_with("The broker does not support consumer to filter message by SQL92"), "{remark}");
    }
}

#[test]
fn a_filter_that_matches_nothing_goes_through_a_long_queue_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path()));
    let mut client = running.client();
    for _ in 0..2000 {
        client.send_message("T", 0, &properties("n=1;"), b"x");
    }
    let mut pull = SqlPull { expression: Some("n = 2"), hold_millis: 5000, ..SqlPull::FIRST };
    for offset in ["800", "1600", "2000"] {
        assert_eq!(next(&pull.ask(&mut client)), (20, Some(offset)));
        pull.offset = offset.parse().unwrap();
    }
}
