// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::*;

fn redaction() -> Redaction {
    Redaction::new(&["token".into(), "password".into(), "api_key".into(), "my secret".into()])
}

#[test]
fn secret_values_are_hidden_however_the_key_is_written() {
    let redaction = redaction();
    for (query, want) in [
        ("a=1&token=abc&b=2", "a=1&token=[redacted]&b=2"),
        ("TOKEN=abc", "TOKEN=[redacted]"),
        ("%74oken=abc", "%74oken=[redacted]"),
        ("%2574oken=abc", "%2574oken=[redacted]"),
        ("user[password]=x", "user[password]=[redacted]"),
        ("user%5Bpassword%5D=x", "user%5Bpassword%5D=[redacted]"),
        ("password[]=x&q=1", "password[]=[redacted]&q=1"),
        ("password[a][b]=x", "password[a][b]=[redacted]"),
        ("json.password.0=x", "json.password.0=[redacted]"),
        ("a=1;password=x&b=2", "a=1;password=[redacted]&b=2"),
        ("d=%7B%22password%22:%22x%22%7D&b=2", "d=%7B%22password%22[redacted]&b=2"),
        ("my+secret=x", "my+secret=[redacted]"),
        ("{\"password\":\"a=b\"}", "{\"password\"[redacted]=[redacted]"),
        ("token=", "token="),
        ("tokens=abc", "tokens=abc"),
        ("csrf-token=abc", "csrf-token=abc"),
        ("q=union+select+password+from+users", "q=union+select+password+from+users"),
        ("", ""),
    ] {
        assert_eq!(redaction.query(query), want);
        assert_eq!(redaction.query(want), want, "again");
    }
    for (url, want) in [
        ("https://u:p@a.example/x?token=abc&y=1#frag", "https://a.example/x?token=[redacted]&y=1"),
        ("https://token:9@token.example:8443/x", "https://token.example:8443/x"),
        ("/x;password=abc", "/x;password=[redacted]"),
    ] {
        assert_eq!(redaction.url(url), want);
    }
}

#[test]
fn a_name_is_secret_wherever_it_stands_in_a_path_of_names() {
    let redaction = redaction();
    for (name, want) in [
        ("password", true),
        ("PassWord", true),
        ("user[password]", true),
        ("password[]", true),
        ("json.password.v", true),
        ("ns:password", true),
        ("/user/password", true),
        (" \"password\" ", true),
        ("p\\u0061ssword", true),
        ("p%2561ssword", true),
        ("&#112;assword", true),
        ("{\"password\":\"", true),
        ("ｐａｓｓｗｏｒｄ", true),
        ("passwords", false),
        ("old_password", false),
        ("password-hint", false),
        ("q", false),
        ("", false),
    ] {
        assert_eq!(redaction.hides(name), want, "{name}");
    }
    let nested = (0..20).fold("a%25".to_owned(), |text, _| text.replace('%', "%25"));
    assert!(redaction.hides(&nested), "what cannot be told is hidden");
}

#[test]
fn a_text_is_told_up_to_the_first_secret() {
    let redaction = redaction();
    for (text, want) in [
        ("{\"a\":1,\"password\":\"x\"}", "{\"a\":1,\"password\"[redacted]"),
        ("<a><password>x</password></a>", "<a><password>[redacted]"),
        ("login(password: \"x\")", "login(password:[redacted]"),
        ("name=\"password\"\r\n\r\nx", "name=\"password\"[redacted]"),
        ("password:\n - x", "password:[redacted]"),
        ("mysql --password=x", "mysql --password=[redacted]"),
        ("%7b%22password%22%3a%22x", "%7b%22password%22[redacted]"),
        ("select password, name from users", "select password, name from users"),
        ("{\"password\":\"\"}", "{\"password\":\"\"}"),
        ("password", "password"),
    ] {
        assert_eq!(redaction.text(text), want);
        assert_eq!(redaction.text(want), want, "again");
    }
    assert_eq!(redaction.text("\u{1}hpasswordgx"), "\u{1}hpassword[redacted]", "lengths between");
}

#[test]
fn a_piece_of_a_text_is_told_where_it_stands_before_the_secret() {
    let redaction = redaction();
    let whole = "{\"q\":\"<script>\",\"password\":\"hunter2 <script>x\"}";
    for (piece, want) in [
        ("\"q\":\"<script>\"", "\"q\":\"<script>\""),
        ("ord\":\"hunter2", MASK),
        ("hunter2", MASK),
        ("pt>\",\"password\":\"hun", "pt>\",\"password\"[redacted]"),
        ("unter2 password: x", MASK),
    ] {
        assert_eq!(redaction.piece(piece, whole), want, "{piece}");
    }
    assert_eq!(redaction.piece("a", "{\"a\":1}"), "a");
}

#[test]
fn addresses_lose_their_host_part() {
    for (full, want) in [
        ("203.0.113.42", "203.0.113.0"),
        ("2001:db8:1:2:3::4", "2001:db8:1::"),
        ("::ffff:1.2.3.4", "1.2.3.0"),
    ] {
        assert_eq!(truncated_address(full.parse().unwrap()), want.parse::<IpAddr>().unwrap());
    }
}

/// Ways to write that something stands under a name.
const FORMS: [&str; 26] = [
    "NAME=VALUE",
    "a=1&NAME=VALUE&b=2",
    "user[NAME]=VALUE",
    "NAME[]=VALUE",
    "user[NAME][0]=VALUE",
    "x.NAME.y=VALUE",
    "a=1; NAME = 'VALUE'",
    "{\"NAME\":\"VALUE\"}",
    "{\"NAME\" : {\"v\":\"VALUE\"}}",
    "{\"NAME\":[1,\"VALUE\"]}",
    "{'NAME':'VALUE'}",
    "{\\\"NAME\\\":\\\"VALUE\\\"}",
    "<r><NAME>VALUE</NAME></r>",
    "<r><x:NAME a='b'><v>VALUE</v></x:NAME></r>",
    "<r NAME=\"VALUE\"/>",
    "<key>NAME</key><string>VALUE</string>",
    "[{\"name\":\"NAME\",\"value\":\"VALUE\"}]",
    "mutation { login(NAME: \"VALUE\") { id } }",
    "{\"query\":\"mutation { login(NAME: \\\"VALUE\\\") }\"}",
    "--b\r\nContent-Disposition: form-data; name=\"NAME\"\r\n\r\nVALUE\r\n--b--",
    "--b\r\nContent-Disposition: form-data; name=u[NAME]; filename=x\r\nX: y\r\n\r\nVALUE\r\n--b--",
    "NAME: VALUE",
    "NAME:\n  - VALUE",
    "s:8:\"NAME\";s:7:\"VALUE\"",
    "\u{a2}\u{1}hNAMEgVALUE",
    "curl --NAME='VALUE'",
];

fn disguised(text: &str, way: u8) -> String {
    let each = |write: fn(char) -> String| text.chars().map(write).collect::<String>();
    match way % 8 {
        0 => each(|c| if c.is_ascii_alphanumeric() { c.into() } else { encoded(c) }),
        1 => each(encoded),
        2 => each(|c| encoded(c).replace('%', "%25")),
        3 => each(|c| format!("\\u{:04x}", u32::from(c))),
        4 => each(|c| format!("&#{};", u32::from(c))),
        5 => text.to_ascii_uppercase(),
        6 => each(|c| format!("{c}\0")),
        _ => text.to_owned(),
    }
}

fn encoded(character: char) -> String {
    character.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// What names, escapes and separators are made of.
fn pieces() -> impl Strategy<Value = String> {
    let pieces = vec![
        "password",
        "pass",
        "word",
        "%",
        "%2",
        "5",
        "70",
        "%70",
        "%20",
        "%3d",
        "=",
        ":",
        "\"",
        "&",
        "&#112;",
        "+",
        "-",
        "\\u0070",
        "\\",
        "\0",
        "\u{1}",
        "é",
        "ｐ",
        "TOKEN",
        "_",
        "a",
        "%00",
        "%ef%bd%90",
        "[",
        "]",
        ".",
        "<",
        ">",
        " ",
        "my secret",
        "[redacted]",
        ";",
        "%25",
        "@",
        "/",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_secret_never_survives(before in "[a-z&=%0-9]{0,20}", secret in "[A-Z]{12}") {
        let redaction = Redaction::new(&["token".into()]);
        let query = format!("{before}&token={secret}");
        prop_assert!(!redaction.query(&query).contains(&secret));
    }

    #[test]
    fn a_secret_survives_in_no_form(
        form in 0..FORMS.len(),
        name in prop::sample::select(vec!["password", "TOKEN", "Api_Key", "my secret"]),
        (way, name_way, front) in (any::<u8>(), any::<u8>(), "[ -~]{0,24}"),
        (noise, at) in ("[ -~]{0,12}", 0..12_usize),
        cut in 0..200_usize,
    ) {
        // Two pieces of it, so that whatever stands between them ends nothing.
        let value = format!("Canary7q{}Canary9z", &noise);
        let form = FORMS[form].replace("VALUE", &value);
        let named = form.replace("NAME", &disguised(name, name_way));
        let text = format!("{} {}", &front[..at.min(front.len())], disguised(&named, way));
        let redaction = redaction();
        let told = redaction.text(&text).to_ascii_lowercase();
        for canary in ["canary7q", "canary9z"] {
            prop_assert!(!told.contains(canary) && !told.contains(&disguised(canary, way)), "{text} {told}");
        }
        // A piece, wherever it is cut.
        let piece = text.get(cut.min(text.len())..).unwrap_or_default();
        let told = redaction.piece(piece, &text).to_ascii_lowercase();
        for canary in ["canary7q", "canary9z"] {
            prop_assert!(!told.contains(canary) && !told.contains(&disguised(canary, way)), "{text} {piece}");
        }
    }

    #[test]
    fn the_quick_look_says_no_more_than_the_whole_one(text in pieces()) {
        let redaction = Redaction::new(&["token".into(), "password".into()]);
        let without = Redaction { phrases: vec!["no such phrase".into()], ..redaction.clone() };
        if without.begin_of_secret(&text).is_some() {
            prop_assert!(redaction.names_a_secret(&text), "{text}");
        }
    }

    #[test]
    fn whatever_is_around_it_a_pair_is_hidden_and_hiding_again_changes_nothing(text in pieces()) {
        let redaction = redaction();
        for pair in ["token=CANARY", "%74oken=CANARY", "user[password]=CANARY", "password%5B%5D=CANARY"] {
            for query in [format!("{text}&{pair}"), format!("{pair}&{text}"), text.clone()] {
                let told = redaction.query(&query).into_owned();
                prop_assert!(!told.contains("CANARY"), "{query} {told}");
                prop_assert_eq!(redaction.query(&told), told.as_str(), "{}", query);
                let told = redaction.text(&query).into_owned();
                prop_assert_eq!(redaction.text(&told), told.as_str(), "{}", query);
                let told = redaction.url(&format!("https://u:CANARY@host/path?{query}")).into_owned();
                prop_assert!(!told.contains("CANARY"), "{query} {told}");
            }
        }
    }

    #[test]
    fn it_never_panics_and_doing_it_again_changes_nothing(text in "\\PC{0,64}") {
        let redaction = redaction();
        let told = redaction.query(&text).into_owned();
        prop_assert_eq!(redaction.query(&told), told.as_str());
        let told = redaction.text(&text).into_owned();
        prop_assert_eq!(redaction.text(&told), told.as_str());
        redaction.url(&text);
    }
}
