use super::*;
use protocol::auth::PolicyEntryInfo;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn files(directory: &Path) -> Files {
    Files {
        table: Some(directory.join("config/access.json")),
        plain: Some(directory.join("plain_acl.yml")),
        disk: Disk::default(),
    }
}

fn open(config: &Config, directory: &Path) -> Result<Arc<Access>, OpenError> {
    Access::open(config, Some("c"), files(directory)).map(Option::unwrap)
}

fn with_users() -> Config {
    Config {
        authentication: true,
        authorization: true,
        init_user: Some(Credentials::new("root", "secretOfRoot")),
        ..Config::default()
    }
}

fn with_accounts() -> Config {
    Config { plain: true, ..Config::default() }
}

fn rules(resource: &str, action: &str) -> Vec<PolicyInfo> {
    let entry = PolicyEntryInfo {
        resource: Some(resource.into()),
        actions: vec![action.into()],
        source_ips: None,
        decision: Some("Allow".into()),
    };
    vec![PolicyInfo { policy_type: None, entries: vec![entry] }]
}

fn account(name: &str, perms: &str) -> String {
    format!("accounts:\n- accessKey: {name}\n  secretKey: secretOf{name}\n  topicPerms: [{perms}]\n")
}

fn allowed(access: &Access, name: &str, action: &str, resource: &str) -> bool {
    access.explain(name, action, resource, None).unwrap().allowed
}

#[test]
fn without_a_key_that_turns_it_on_nobody_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Access::open(&Config::default(), None, files(directory.path())).unwrap().is_none());
}

#[test]
fn settings_that_would_leave_it_open_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { authorization: true, ..Config::default() };
    let Err(error) = open(&config, directory.path()) else { panic!() };
    assert!(error.to_string().contains("needs authenticationEnabled=true"), "{error}");
    let Err(error) = open(&with_accounts(), directory.path()) else { panic!() };
    assert!(error.to_string().contains("plain_acl.yml: there is no such file"), "{error}");
    let nowhere = Files { plain: None, ..files(directory.path()) };
    assert!(matches!(Access::open(&with_accounts(), None, nowhere), Err(OpenError::Settings(_))));
    let config = Config { migrate: true, ..with_users() };
    assert!(matches!(open(&config, directory.path()), Err(OpenError::Settings(_))));
}

#[test]
fn users_and_rules_outlive_the_server_and_only_their_owner_can_read_them() {
    let directory = tempfile::tempdir().unwrap();
    let access = open(&with_users(), directory.path()).unwrap();
    access.change(|table| table.create_user(&user("alice", "secretOfAlice", false), true)).unwrap();
    access.change(|table| table.put_acl("User:alice", &rules("Topic:orders", "Pub"))).unwrap();
    assert!(allowed(&access, "alice", "Pub", "Topic:orders") && !allowed(&access, "alice", "Sub", "Topic:orders"));
    drop(access);
    for path in ["config/access.json", "config/access.json.bak"] {
        let mode = fs::metadata(directory.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    let changed = Config { init_user: Some(Credentials::new("root", "another")), ..with_users() };
    let access = open(&changed, directory.path()).unwrap();
    assert!(allowed(&access, "alice", "Pub", "Topic:orders") && allowed(&access, "root", "Delete", "Topic:any"));
    let password = access.look(|table| table.user("root", true)).unwrap().unwrap().password;
    assert_eq!(password.as_deref(), Some("secretOfRoot"), "a user who is there stays as it is");
}

#[test]
fn what_can_not_be_saved_is_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let access = open(&with_users(), directory.path()).unwrap();
    let path = directory.path().join("config");
    fs::rename(&path, directory.path().join("away")).unwrap();
    fs::write(&path, "in the way").unwrap();
    let failed = access.change(|table| table.create_user(&user("alice", "secretOfAlice", false), true)).unwrap_err();
    assert!(matches!(failed, ChangeError::Save { .. }), "{failed}");
    assert!(!access.look(|table| table.has("alice")).unwrap());
    assert!(!allowed(&access, "alice", "Pub", "Topic:orders"));
}

#[test]
fn account_files_are_read_again_when_they_have_changed_and_a_broken_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plain_acl.yml");
    fs::write(&path, account("userAAA", "a=PUB")).unwrap();
    let access = open(&with_accounts(), directory.path()).unwrap();
    assert!(allowed(&access, "userAAA", "Pub", "Topic:a"));

    fs::write(&path, account("userAAA", "a=SUB, b=PUB")).unwrap();
    access.look_at_files();
    assert!(allowed(&access, "userAAA", "Pub", "Topic:a"), "its writer may not be done with it");
    access.look_at_files();
    assert!(!allowed(&access, "userAAA", "Pub", "Topic:a") && allowed(&access, "userAAA", "Pub", "Topic:b"));

    for broken in ["accounts: [", "accounts:\n- accessKey: userAAA\n  secretKey: short\n"] {
        fs::write(&path, broken).unwrap();
        access.look_at_files();
        access.look_at_files();
        assert!(allowed(&access, "userAAA", "Pub", "Topic:b"), "{broken}");
    }
    fs::remove_file(&path).unwrap();
    access.look_at_files();
    access.look_at_files();
    assert!(allowed(&access, "userAAA", "Pub", "Topic:b"));

    fs::create_dir_all(directory.path().join("acl/team")).unwrap();
    fs::write(directory.path().join("acl/team/b.yml"), account("userBBB", "b=SUB")).unwrap();
    fs::write(directory.path().join("acl/tools.yml"), "accessKey: toolsAAA\n").unwrap();
    fs::write(directory.path().join("acl/notes.txt"), "[").unwrap();
    access.look_at_files();
    access.look_at_files();
    assert!(allowed(&access, "userBBB", "Sub", "Topic:b") && !allowed(&access, "userAAA", "Pub", "Topic:b"));
}

#[test]
fn of_two_users_with_one_name_the_tables_counts_and_then_the_first() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("acl")).unwrap();
    fs::write(directory.path().join("acl/a.yml"), account("userAAA", "first=PUB")).unwrap();
    fs::write(directory.path().join("acl/b.yml"), account("userAAA", "second=PUB")).unwrap();
    fs::write(directory.path().join("plain_acl.yml"), account("rootROOT", "third=PUB")).unwrap();
    let config = Config { init_user: Some(Credentials::new("rootROOT", "x")), plain: true, ..with_users() };
    let access = open(&config, directory.path()).unwrap();
    assert!(allowed(&access, "userAAA", "Pub", "Topic:first") && !allowed(&access, "userAAA", "Pub", "Topic:second"));
    assert_eq!(
        access.explain("rootROOT", "Pub", "Topic:third", None).unwrap().origin.as_deref(),
        Some("the table of users")
    );
}

#[test]
fn tools_change_account_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plain_acl.yml");
    fs::write(&path, account("userAAA", "a=PUB")).unwrap();
    fs::create_dir(directory.path().join("acl")).unwrap();
    let other = directory.path().join("acl/b.yml");
    fs::write(&other, account("userBBB", "b=PUB")).unwrap();
    let access = open(&with_accounts(), directory.path()).unwrap();

    let change = |name: &str, secret: &str, perm: &str| AccountChange {
        access_key: name.into(),
        secret_key: secret.into(),
        topic_perms: Some(vec![perm.into()]),
        ..AccountChange::default()
    };
    access.put_account(&change("userCCC", "secretOfC", "c=SUB"), 1).unwrap();
    access.put_account(&change("userBBB", "secretOfB", "b=SUB"), 2).unwrap();
    assert!(allowed(&access, "userCCC", "Sub", "Topic:c") && !allowed(&access, "userBBB", "Pub", "Topic:b"));
    assert!(
        fs::read_to_string(&path).unwrap().contains("userCCC") && fs::read_to_string(&other).unwrap().contains("b=SUB")
    );
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(access.put_account(&change("userDDD", "short", "d=SUB"), 3), Err(ChangeError::Refused(_))));
    assert!(matches!(access.put_account(&change("userDDD", "secretOfD", "d=FLY"), 3), Err(ChangeError::Refused(_))));

    assert!(access.delete_account("userAAA", 4).unwrap() && !access.delete_account("userAAA", 5).unwrap());
    access.put_white_addresses(&["10.0.0.*".into()], None, 6).unwrap();
    assert!(access.explain("nobody", "Pub", "Topic:a", Some("10.0.0.7")).unwrap().allowed);
    let elsewhere = access.put_white_addresses(&["*".into()], Some("/etc/passwd"), 7).unwrap_err();
    assert!(elsewhere.to_string().contains("is no file of accounts here"), "{elsewhere}");
    assert!(matches!(access.put_white_addresses(&["here".into()], None, 8), Err(ChangeError::Refused(_))));

    let names: Vec<String> =
        access.accounts().unwrap().plain_access_configs.into_iter().map(|account| account.access_key).collect();
    assert_eq!(names, ["userBBB", "userCCC"]);
    let (own, all) = access.account_versions().unwrap();
    assert_eq!((own.counter, all.len(), all[&other.display().to_string()].counter), (3, 2, 1));
}

#[test]
fn accounts_become_users_once() {
    let directory = tempfile::tempdir().unwrap();
    let text = "accounts:\n- accessKey: userAAA\n  secretKey: secretOfA\n  defaultTopicPerm: SUB\n  defaultGroupPerm: DENY\n  \
        topicPerms: [a=PUB|SUB, b=DENY]\n  groupPerms: [g=SUB]\n- accessKey: adminAAA\n  secretKey: secretOfAdmin\n  admin: true\n";
    fs::write(directory.path().join("plain_acl.yml"), text).unwrap();
    let config = Config { migrate: true, ..with_users() };
    let access = open(&config, directory.path()).unwrap();
    for (action, resource, may) in [
        ("Pub", "Topic:a", true),
        ("Sub", "Topic:b", false),
        ("Sub", "Topic:c", true),
        ("Pub", "Topic:c", false),
        ("Sub", "Group:g", true),
        ("Sub", "Group:h", false),
    ] {
        assert_eq!(allowed(&access, "userAAA", action, resource), may, "{action} {resource}");
    }
    assert!(allowed(&access, "adminAAA", "Delete", "Topic:a"));
    access.change(|table| table.delete_acl("User:userAAA", None, Some("Topic:a"))).unwrap();
    drop(access);
    let access = open(&config, directory.path()).unwrap();
    assert!(!allowed(&access, "userAAA", "Pub", "Topic:a"), "a user who is there stays as it is");
}

#[test]
fn an_explanation_names_the_rule_and_where_the_user_comes_from() {
    let directory = tempfile::tempdir().unwrap();
    let access = open(&with_users(), directory.path()).unwrap();
    access.change(|table| table.create_user(&user("alice", "secretOfAlice", false), true)).unwrap();
    access.change(|table| table.put_acl("User:alice", &rules("Topic:ord*", "Pub"))).unwrap();
    let why = access.explain("alice", "pub", "Topic:orders", Some("10.0.0.1")).unwrap();
    assert_eq!((why.allowed, why.why.as_str()), (true, "the Custom rule for Topic:ord* allows it"));
    assert_eq!(why.rule.unwrap().resource.as_deref(), Some("Topic:ord*"));
    assert!(!access.explain("alice", "Sub", "Topic:orders", None).unwrap().allowed);
    assert!(access.explain("bob", "Sub", "Topic:orders", None).unwrap().why.contains("no user bob"));
    assert!(access.explain("alice", "Fly", "Topic:orders", None).is_err());
    assert!(access.explain("alice", "Pub", "Topic:*", None).is_err());
    assert!(access.explain("alice", "Pub", "Topic:a", Some("here")).is_err());
    let disabled =
        UserInfo { user_status: Some("disable".into()), password: None, user_type: None, ..user("alice", "", false) };
    access.change(|table| table.update_user(&disabled, true)).unwrap();
    assert!(!allowed(&access, "alice", "Pub", "Topic:orders"));
}

#[test]
fn credentials_and_codes_are_read_as_apache_writes_them() {
    let read = |text: &str| {
        read_credentials(text).flatten().map(|it| (it.access_key().to_owned(), it.secret_key().to_owned()))
    };
    let both = Some(("a".to_owned(), "b".to_owned()));
    assert_eq!(read(r#"{"username":"a","password":"b"}"#), both);
    assert_eq!(read(r#"{"accessKey":"a","secretKey":"b"}"#), both);
    assert_eq!(read_credentials(" "), Some(None));
    for bad in ["a:b", "{}", r#"{"username":"","password":"b"}"#, r#"{"username":"a"}"#] {
        assert_eq!(read_credentials(bad), None, "{bad}");
    }
    assert_eq!(read_codes("10, 310,"), Some(vec![10, 310]));
    assert_eq!(read_codes(""), Some(vec![]));
    assert_eq!(read_codes("10;11"), None);
    assert_eq!(show_codes(&[10, 310]), "10,310");
}
