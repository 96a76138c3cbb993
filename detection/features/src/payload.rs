// SPDX-License-Identifier: Apache-2.0
//! One unit of a request as the payload model reads it: its text in symbols, and what stands in it, counted.
//!
//! What attackers vary at will is made alike first: digits are one symbol, white space, `+` and SQL comments
//! another, letters beyond ASCII a third; runs of them are one. Entities of HTML and escapes of JavaScript are what
//! they stand for. All counts stop at 255.

use crate::ddos::Feature;

/// Numbers that [`read`] gives.
pub const COUNT: usize = 29;

/// Names and units, in the order of [`Facts::numbers`].
pub const TABLE: [Feature; COUNT] = [
    count("length", "Bytes, eight for each 1"),
    count("single_quotes", "`'` and backticks"),
    count("double_quotes", "`\"`"),
    count("angles", "`<` and `>`"),
    count("parentheses", "`(` and `)`"),
    count("braces", "`{`, `}`, `[`, `]`"),
    count("semicolons", "`;`"),
    count("equals", "`=`"),
    count("pipes_and_ampersands", "`|` and `&`"),
    count("dollars", "`$`"),
    count("percents", "`%` that is no escape"),
    count("slashes", "`/`"),
    count("backslashes", "`\\`"),
    count("dots", "`.`"),
    count("dashes", "`-`"),
    count("hashes_and_stars", "`#`, `*`, `!`, `^`, `~`"),
    count("commas_and_colons", "`,` and `:`"),
    count("spaces", "White space and `+`, runs as one"),
    count("controls", "NUL and other control characters that are no white space"),
    count("digits", "Runs of digits"),
    count("letters_beyond_ascii", "Runs of bytes from 0x80"),
    count("climbs", "`..`"),
    count("comments", "`--`, `/*`, `*/`, `#` at the end"),
    count("openings", "`${`, `$(`, `{{`, `<?`, `<%`, `<!`, `||`, `&&`"),
    count("sql_words", "Words of SQL"),
    count("script_words", "Words of HTML and JavaScript"),
    count("shell_words", "Commands of shells"),
    count("file_words", "Names of files that attacks read, and wrappers that read them"),
    count("lookup_words", "Words of look-ups, templates and reflection"),
];

const fn count(name: &'static str, doc: &'static str) -> Feature {
    Feature { name, unit: "count", doc }
}

/// A unit, read. Kept by the caller: nothing is allocated once it is large enough.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Begins with [`START`] and ends with [`END`].
    pub symbols: Vec<u8>,
    /// In the order of [`TABLE`].
    pub numbers: [u8; COUNT],
    /// A quote stands before the first word of SQL or script, and such a word or a comment behind it; or the text begins
    /// with a number, and its first word is one of SQL.
    is_broken_out_of: bool,
    /// A tag begins somewhere.
    has_tag: bool,
    has_backtick: bool,
}

impl Facts {
    /// It is built as attacks are, whatever a model thinks: a quote before the first word of SQL or script and such a
    /// word or a comment behind it (who writes about SQL begins with the words); a number with a word of SQL next; climbs;
    /// a path of a system's file; a tag with script; an opening with a look-up or a command; a command behind a separator.
    pub fn has_sign(&self) -> bool {
        let count = |place: u8| self.numbers.get(usize::from(place)).copied().unwrap_or(0);
        let (script, shell, files) = (count(WORDS + 1), count(WORDS + 2), count(WORDS + 3));
        let lookups = count(WORDS + 4);
        let separators = count(SEMICOLONS) > 0 || count(PIPES) > 0 || self.has_backtick;
        self.is_broken_out_of
            || count(CONTROLS) > 0
            || count(CLIMBS) > 1
            || (count(CLIMBS) > 0 && files > 0)
            || (files > 1 && count(SLASHES) > 0)
            || (self.has_tag && script > 0)
            || (count(OPENINGS) > 0 && lookups + shell > 0)
            || (separators && shell > 0)
    }
}

/// Stands before the first symbol.
pub const START: u8 = 3;
/// Stands after the last symbol.
pub const END: u8 = 4;

const DIGIT: u8 = b'0';
const SPACE: u8 = b' ';
const CONTROL: u8 = 1;
const BEYOND: u8 = 0x80;

const SINGLE_QUOTES: u8 = 1;
const SEMICOLONS: u8 = 6;
const PIPES: u8 = 8;
const SLASHES: u8 = 11;
const SPACES: u8 = 17;
const CONTROLS: u8 = 18;
const CLIMBS: u8 = 21;
const COMMENTS: u8 = 22;
const OPENINGS: u8 = 23;
const WORDS: u8 = 24;
/// Counted nowhere.
const NOWHERE: u8 = 31;

/// Reads the canonical text of a unit.
pub fn read(value: &[u8], facts: &mut Facts) {
    let Facts { symbols, numbers, is_broken_out_of, has_tag, has_backtick } = facts;
    let mut shape = Shape::default();
    (*has_tag, *has_backtick) = (false, false);
    symbols.clear();
    symbols.push(START);
    let mut counts = [0_u32; 32];
    let mut word = Word::default();
    let mut last = START;
    let mut rest = value;
    while let Some((byte, length)) = next(rest) {
        rest = rest.get(length..).unwrap_or_default();
        let Class { symbol, counter } = class(byte);
        if symbol.is_ascii_lowercase() || symbol == b'_' {
            word.add(symbol);
            *has_tag |= last == b'<';
        } else {
            shape.word(word.end(&mut counts));
            *has_backtick |= symbol == b'`';
            *has_tag |= last == b'<' && matches!(symbol, b'/' | b'!' | b'?');
            shape.symbol(last, symbol);
            let pair = pair(last, symbol);
            add(&mut counts, pair);
            shape.is_over |= pair == COMMENTS && shape.is_quoted_first;
            if pair == COMMENTS && symbol != b'-' {
                // A comment is white space to who reads SQL.
                symbols.pop();
                last = symbols.last().copied().unwrap_or(START);
                if last != SPACE {
                    symbols.push(SPACE);
                }
                last = SPACE;
                continue;
            }
        }
        let is_run = symbol == last && matches!(symbol, DIGIT | SPACE | BEYOND);
        if !is_run {
            add(&mut counts, counter);
            symbols.push(symbol);
            last = symbol;
        }
    }
    shape.word(word.end(&mut counts));
    if last == b'#' {
        add(&mut counts, COMMENTS);
        shape.is_over |= shape.is_quoted_first;
    }
    *is_broken_out_of = shape.is_over;
    symbols.push(END);
    counts[0] = u32::try_from(value.len() / 8).unwrap_or(u32::MAX);
    for (number, count) in numbers.iter_mut().zip(counts) {
        *number = u8::try_from(count).unwrap_or(u8::MAX);
    }
}

/// Whether a text holds nothing but letters, digits, `_`, `-` and single dots, or nothing but blanks: most values are
/// such, and none of them is looked at further. What is plain as it was sent is plain in its canonical form.
#[inline]
pub fn is_plain(value: &[u8]) -> bool {
    let seen =
        value.iter().fold(0, |seen, byte| seen | PLAINNESS.get(usize::from(*byte)).copied().unwrap_or(ODD));
    if seen & MARK != 0 {
        return seen & !(MARK | WORD) == 0 && !value.windows(2).any(|pair| matches!(pair, b".." | b"--"));
    }
    matches!(seen, 0 | BLANK | WORD)
}

/// Hands out a text, and where it is long its pieces, which overlap by half: what is written around an attack does not
/// hide it, for in some piece it stands nearly alone. A text of n bytes has n / 24 pieces.
pub fn each_piece(value: &[u8], visit: &mut dyn FnMut(&[u8])) {
    visit(value);
    let mut start = 0;
    while value.len() > PIECE && start < value.len() {
        // The last one is as long as the others.
        let from = start.min(value.len() - PIECE);
        let piece = value.get(from..from + PIECE).unwrap_or_default();
        if !is_plain(piece) {
            visit(piece);
        }
        start += PIECE / 2;
        if from + PIECE == value.len() {
            return;
        }
    }
}

/// Bytes of a piece: most attacks are longer than half of it.
const PIECE: usize = 48;

/// A letter, a digit or `_`.
const WORD: u8 = 1;
/// A dot or a dash: neither may stand twice in a row.
const MARK: u8 = 2;
/// What separates words: plain where nothing else stands.
const BLANK: u8 = 4;
/// Anything else.
const ODD: u8 = 8;

static PLAINNESS: [u8; 256] = plainness();

const fn plainness() -> [u8; 256] {
    let mut table = [ODD; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => WORD,
            b'.' | b'-' => MARK,
            b' ' | b'\t' | b'\n' | b'\r' | b'+' => BLANK,
            _ => ODD,
        };
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

/// The next byte, and how many it is written in: characters may be written as HTML does it (`&#106;`, `&lpar;`) or
/// JavaScript (`\x6a`, `\u006a`), which who reads an attribute or a script undoes.
#[inline]
fn next(text: &[u8]) -> Option<(u8, usize)> {
    match text.first()? {
        b'&' => Some(entity(text).unwrap_or((b'&', 1))),
        b'\\' => Some(escape(text).unwrap_or((b'\\', 1))),
        byte => Some((*byte, 1)),
    }
}

fn entity(text: &[u8]) -> Option<(u8, usize)> {
    if let [b'&', b'#', rest @ ..] = text {
        let (radix, start) = if rest.first() == Some(&b'x') { (16, 1) } else { (10, 0) };
        let (code, digits) = number(rest.get(start..)?, radix, DIGITS_MAX)?;
        let length = 2 + start + digits;
        let semicolon = usize::from(text.get(length) == Some(&b';'));
        return Some((byte_of(code), length + semicolon));
    }
    let name = text.get(1..text.len().min(ENTITY_MAX))?;
    let name = name.split(|byte| *byte == b';').next().filter(|found| found.len() < name.len())?;
    let (_, byte) = ENTITIES.iter().find(|(known, _)| known.as_bytes() == name)?;
    Some((*byte, name.len() + 2))
}

fn escape(text: &[u8]) -> Option<(u8, usize)> {
    let digits = match text.get(1)? {
        b'x' => 2,
        b'u' => 4,
        _ => return None,
    };
    let (code, found) = number(text.get(2..)?, 16, digits)?;
    (found == digits).then_some((byte_of(code), 2 + digits))
}

/// Of the digits at the start, at least one, at most so many.
fn number(text: &[u8], radix: u32, most: usize) -> Option<(u32, usize)> {
    let digits = text.iter().take(most).map_while(|byte| char::from(*byte).to_digit(radix));
    let (number, count) = digits.fold((0_u32, 0), |(number, count), digit| {
        (number.saturating_mul(radix).saturating_add(digit), count + 1)
    });
    (count > 0).then_some((number, count))
}

/// All characters beyond ASCII are one.
fn byte_of(code: u32) -> u8 {
    u8::try_from(code).ok().filter(u8::is_ascii).unwrap_or(BEYOND)
}

/// Zeros in front of a number are no bound to browsers; nobody writes more without an intention.
const DIGITS_MAX: usize = 9;

/// The longest name below, with `&` and `;`.
const ENTITY_MAX: usize = 10;

const ENTITIES: &[(&str, u8)] = &[
    ("lt", b'<'),
    ("gt", b'>'),
    ("quot", b'"'),
    ("apos", b'\''),
    ("amp", b'&'),
    ("lpar", b'('),
    ("rpar", b')'),
    ("colon", b':'),
    ("sol", b'/'),
    ("tab", b'\t'),
    ("newline", b'\n'),
    ("nbsp", b' '),
];

fn add(counts: &mut [u32; 32], counter: u8) {
    if let Some(count) = counts.get_mut(usize::from(counter & 31)) {
        *count = count.saturating_add(1);
    }
}

#[derive(Clone, Copy)]
struct Class {
    symbol: u8,
    counter: u8,
}

fn class(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class { symbol: CONTROL, counter: NOWHERE })
}

static CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut table = [Class { symbol: CONTROL, counter: NOWHERE }; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = class_of(byte);
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

const fn class_of(byte: u8) -> Class {
    let symbol = match byte {
        b'0'..=b'9' => DIGIT,
        b'\t' | b'\n' | 0x0B | 0x0C | b'\r' | b' ' | b'+' => SPACE,
        0..=0x1F | 0x7F => CONTROL,
        0x80.. => BEYOND,
        _ => byte.to_ascii_lowercase(),
    };
    let counter = match symbol {
        b'\'' | b'`' => SINGLE_QUOTES,
        b'"' => 2,
        b'<' | b'>' => 3,
        b'(' | b')' => 4,
        b'{' | b'}' | b'[' | b']' => 5,
        b';' => SEMICOLONS,
        b'=' => 7,
        b'|' | b'&' => PIPES,
        b'$' => 9,
        b'%' => 10,
        b'/' => SLASHES,
        b'\\' => 12,
        b'.' => 13,
        b'-' => 14,
        b'#' | b'*' | b'!' | b'^' | b'~' => 15,
        b',' | b':' => 16,
        SPACE => SPACES,
        CONTROL => CONTROLS,
        DIGIT => 19,
        BEYOND => 20,
        _ => NOWHERE,
    };
    Class { symbol, counter }
}

/// The counter of two symbols that mean more than each alone.
const fn pair(last: u8, symbol: u8) -> u8 {
    match (last, symbol) {
        (b'.', b'.') => CLIMBS,
        (b'-', b'-') | (b'/', b'*') | (b'*', b'/') => COMMENTS,
        (b'$', b'{' | b'(') | (b'{', b'{') | (b'<', b'?' | b'%' | b'!') | (b'|', b'|') | (b'&', b'&') => {
            OPENINGS
        }
        _ => NOWHERE,
    }
}

/// In what order quotes and words come.
#[derive(Clone, Copy, Default)]
struct Shape {
    /// A quote stood before any word of SQL or script.
    is_quoted_first: bool,
    /// The text begins with a number, and there was no word yet.
    is_number_so_far: bool,
    has_language: bool,
    /// It is what [`Facts::has_sign`] says.
    is_over: bool,
}

impl Shape {
    fn symbol(&mut self, last: u8, symbol: u8) {
        let is_quote = matches!(symbol, b'\'' | b'"' | b'`');
        self.is_quoted_first |= is_quote && !self.has_language;
        self.is_number_so_far |= last == START && matches!(symbol, DIGIT | b'-');
    }

    fn word(&mut self, kind: Option<u8>) {
        let Some(kind) = kind else { return };
        let is_sql = kind == WORDS;
        if is_sql || kind == WORDS + 1 {
            self.is_over |= self.is_quoted_first || (is_sql && self.is_number_so_far);
            self.has_language = true;
        }
        self.is_number_so_far = false;
    }
}

/// A word on its way: FNV-1a over its letters.
#[derive(Clone, Copy, Default)]
struct Word {
    hash: u32,
    length: u32,
}

impl Word {
    fn add(&mut self, letter: u8) {
        if self.length == 0 {
            self.hash = FNV_START;
        }
        self.hash = fnv(self.hash, letter);
        self.length += 1;
    }

    /// Its kind; nothing where there is no word.
    fn end(&mut self, counts: &mut [u32; 32]) -> Option<u8> {
        let length = std::mem::take(&mut self.length);
        if length == 0 {
            return None;
        }
        let kind = if length > 1 { kind_of(self.hash) } else { NOWHERE };
        add(counts, kind);
        Some(kind)
    }
}

const FNV_START: u32 = 0x811c_9dc5;

const fn fnv(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

fn kind_of(hash: u32) -> u8 {
    let mut at = hash as usize % PLACES;
    while let Some((known, kind)) = KNOWN_WORDS.get(at) {
        if *known == hash {
            return *kind;
        }
        if *kind == NOWHERE {
            return NOWHERE;
        }
        at = (at + 1) % PLACES;
    }
    NOWHERE
}

const PLACES: usize = 1024;

/// Words of [`LISTS`] by hash, open addressing.
const KNOWN: [(u32, u8); PLACES] = known();
static KNOWN_WORDS: [(u32, u8); PLACES] = KNOWN;

const fn known() -> [(u32, u8); PLACES] {
    let mut table = [(0, NOWHERE); PLACES];
    let mut list = 0;
    let mut kind = WORDS;
    while list < LISTS.len() {
        let mut word = 0;
        while word < LISTS[list].len() {
            let hash = hash_of(LISTS[list][word].as_bytes());
            let mut at = hash as usize % PLACES;
            while table[at].1 != NOWHERE {
                assert!(table[at].0 != hash, "two words of one hash, or one word twice");
                at = (at + 1) % PLACES;
            }
            table[at] = (hash, kind);
            word += 1;
        }
        list += 1;
        kind += 1;
    }
    table
}

const fn hash_of(word: &[u8]) -> u32 {
    let mut hash = FNV_START;
    let mut at = 0;
    while at < word.len() {
        hash = fnv(hash, word[at]);
        at += 1;
    }
    hash
}

/// In the order of the counters from `WORDS` on.
const LISTS: [&[&str]; 5] = [SQL, SCRIPT, SHELL, FILES, LOOKUPS];

/// Changes with the words and with the rules above.
pub const FINGERPRINT: u64 = fingerprint();

/// Of the rules by which text becomes symbols: raised by hand when they change.
const RULES: u64 = 2;

const fn fingerprint() -> u64 {
    let mut sum = RULES;
    let mut at = 0;
    while at < PLACES {
        let (hash, kind) = KNOWN[at];
        sum = sum.wrapping_mul(31).wrapping_add(hash as u64).wrapping_mul(31).wrapping_add(kind as u64);
        at += 1;
    }
    sum
}

const SQL: &[&str] = &[
    "select",
    "union",
    "insert",
    "update",
    "delete",
    "drop",
    "where",
    "from",
    "having",
    "order",
    "group",
    "limit",
    "null",
    "and",
    "or",
    "like",
    "between",
    "case",
    "when",
    "then",
    "exists",
    "sleep",
    "benchmark",
    "waitfor",
    "delay",
    "concat",
    "char",
    "chr",
    "ascii",
    "substring",
    "substr",
    "mid",
    "cast",
    "convert",
    "exec",
    "execute",
    "declare",
    "varchar",
    "nvarchar",
    "information_schema",
    "table_name",
    "column_name",
    "sysobjects",
    "xp_cmdshell",
    "sp_executesql",
    "outfile",
    "dumpfile",
    "load_file",
    "extractvalue",
    "updatexml",
    "pg_sleep",
    "dbms_pipe",
    "dbms_lock",
    "utl_http",
    "utl_inaddr",
    "rdb",
    "dual",
    "sqlite_master",
    "pg_catalog",
    "group_concat",
    "version",
    "database",
    "schema",
    "procedure",
    "analyse",
    "elt",
    "make_set",
    "rlike",
    "regexp",
    "xor",
    "div",
    "asc",
    "desc",
    "into",
    "values",
    "truncate",
    "alter",
    "create",
    "table",
    "master",
    "shutdown",
    "hex",
    "unhex",
    "md",
    "count",
    "floor",
    "rand",
    "ifnull",
    "iif",
    "sysdate",
    "generate_series",
    "xmltype",
    "json_keys",
    "randomblob",
    "regexp_substring",
    "ctxsys",
    "drithsx",
    "domain_domains",
    "bulk",
    "openrowset",
    "begin",
    "end",
    "else",
    "not",
    "is",
    "in",
    "set",
    "by",
    "as",
    "all",
    "distinct",
];

const SCRIPT: &[&str] = &[
    "script",
    "alert",
    "prompt",
    "confirm",
    "javascript",
    "vbscript",
    "onerror",
    "onload",
    "onclick",
    "onmouseover",
    "onfocus",
    "onblur",
    "ontoggle",
    "onstart",
    "onanimationstart",
    "onanimationend",
    "onpointerenter",
    "onmouseenter",
    "onmouseleave",
    "onmousemove",
    "onmouseout",
    "onmousedown",
    "onmouseup",
    "onkeydown",
    "onkeyup",
    "onkeypress",
    "oncopy",
    "oncut",
    "onpaste",
    "ondrag",
    "ondrop",
    "oninput",
    "onchange",
    "onsubmit",
    "onresize",
    "onscroll",
    "onwheel",
    "onpageshow",
    "onhashchange",
    "onbegin",
    "onend",
    "onrepeat",
    "onfinish",
    "onbounce",
    "svg",
    "img",
    "iframe",
    "frame",
    "embed",
    "object",
    "marquee",
    "body",
    "input",
    "textarea",
    "button",
    "details",
    "video",
    "audio",
    "source",
    "base",
    "link",
    "meta",
    "style",
    "form",
    "isindex",
    "keygen",
    "math",
    "animate",
    "xlink",
    "href",
    "src",
    "srcdoc",
    "document",
    "cookie",
    "window",
    "location",
    "eval",
    "fromcharcode",
    "settimeout",
    "setinterval",
    "function",
    "constructor",
    "innerhtml",
    "write",
    "domain",
    "expression",
    "autofocus",
    "contenteditable",
    "xss",
    "vmlframe",
    "xmlns",
    "behavior",
    "import",
    "atob",
    "onafterprint",
    "onbeforeprint",
    "oncontextmenu",
    "ondblclick",
];

const SHELL: &[&str] = &[
    "cat",
    "ls",
    "wget",
    "curl",
    "bash",
    "sh",
    "nc",
    "netcat",
    "ping",
    "whoami",
    "uname",
    "id",
    "cmd",
    "powershell",
    "nslookup",
    "ifconfig",
    "ipconfig",
    "netstat",
    "tac",
    "chmod",
    "chown",
    "rm",
    "echo",
    "dir",
    "type",
    "perl",
    "python",
    "php",
    "ruby",
    "system",
    "passthru",
    "shell_exec",
    "popen",
    "proc_open",
    "phpinfo",
    "net",
    "tasklist",
    "systeminfo",
    "sudo",
    "nmap",
    "telnet",
    "tftp",
    "ftp",
    "dig",
    "host",
    "kill",
    "print",
    "printf",
    "fopen",
    "readfile",
    "file_get_contents",
    "include",
    "require",
    "assert",
    "gzinflate",
    "ifs",
    "certutil",
    "bitsadmin",
    "rundll",
    "regsvr",
    "wmic",
    "mshta",
    "zsh",
    "ksh",
    "awk",
    "xargs",
    "mkfifo",
    "crontab",
];

const FILES: &[&str] = &[
    "etc",
    "passwd",
    "shadow",
    "hosts",
    "issue",
    "motd",
    "proc",
    "self",
    "environ",
    "cmdline",
    "boot",
    "ini",
    "win",
    "windows",
    "winnt",
    "inetpub",
    "wwwroot",
    "htpasswd",
    "htaccess",
    "web",
    "config",
    "conf",
    "var",
    "log",
    "logs",
    "access_log",
    "error_log",
    "apache",
    "httpd",
    "nginx",
    "bashrc",
    "bash_history",
    "ssh",
    "id_rsa",
    "authorized_keys",
    "git",
    "env",
    "svn",
    "expect",
    "phar",
    "zip",
    "gopher",
    "dict",
    "glob",
    "data",
    "filter",
    "resource",
    "localhost",
    "metadata",
    "latest",
    "usr",
    "bin",
    "dev",
    "tmp",
    "root",
    "home",
    "repair",
    "sam",
];

const LOOKUPS: &[&str] = &[
    "jndi",
    "ldap",
    "ldaps",
    "rmi",
    "dns",
    "iiop",
    "corba",
    "nis",
    "nds",
    "lower",
    "upper",
    "sys",
    "java",
    "javax",
    "runtime",
    "getruntime",
    "processbuilder",
    "classloader",
    "getclass",
    "forname",
    "newinstance",
    "__class__",
    "__mro__",
    "__subclasses__",
    "__globals__",
    "__builtins__",
    "__import__",
    "__init__",
    "__proto__",
    "prototype",
    "ognl",
    "springframework",
    "freemarker",
    "velocity",
    "groovy",
    "lipsum",
    "cycler",
    "joiner",
    "entity",
    "doctype",
    "cdata",
    "xinclude",
    "dtd",
    "xsl",
    "stylesheet",
    "memberaccess",
    "actioncontext",
    "struts",
    "servletcontext",
    "applicationscope",
    "sessionscope",
    "param",
    "requestscope",
    "ne",
    "gt",
    "regex",
];

const _: () = assert!(TABLE.len() == COUNT);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn symbols(text: &str) -> String {
        let mut facts = Facts::default();
        read(text.as_bytes(), &mut facts);
        let inner = facts.symbols.get(1..facts.symbols.len() - 1).unwrap();
        inner.iter().map(|symbol| if *symbol == BEYOND { '¬' } else { char::from(*symbol) }).collect()
    }

    #[test]
    fn what_varies_at_will_is_made_alike() {
        for (text, want) in [
            ("id=12345", "id=0"),
            ("a  \t+b", "a b"),
            ("1/**/or/*x*/1", "0 or x 0"),
            ("größe", "gr¬e"),
            ("日本語", "¬"),
            ("&#106;ava&#x73;cript&colon;", "javascript:"),
            ("&#0000106avascript", "javascript"),
            ("&lt;b&gt;", "<b>"),
            ("a&b&;c&unknown;", "a&b&;c&unknown;"),
            ("\\x61\\u0062\\xzz\\", "ab\\xzz\\"),
            ("\\u4e2d", "¬"),
            ("a\u{0}b", "a\u{1}b"),
        ] {
            assert_eq!(symbols(text), want, "{text}");
        }
    }

    fn number(text: &str, name: &str) -> u8 {
        let mut facts = Facts::default();
        read(text.as_bytes(), &mut facts);
        let at = TABLE.iter().position(|row| row.name == name).unwrap();
        facts.numbers[at]
    }

    #[test]
    fn what_stands_in_a_text_is_counted() {
        for (text, name, want) in [
            ("' or '1'='1", "single_quotes", 4),
            ("' union select 1,2 -- x", "sql_words", 2),
            ("unions selected", "sql_words", 0),
            ("<script>alert(1)</script>", "script_words", 3),
            ("<script>alert(1)</script>", "angles", 4),
            ("; cat /etc/passwd", "shell_words", 1),
            ("; cat /etc/passwd", "file_words", 2),
            ("${jndi:ldap://x}", "lookup_words", 2),
            ("${jndi:ldap://x}", "openings", 1),
            ("../../x", "climbs", 2),
            ("1 -- a /* b */ #", "comments", 4),
            ("12345678901234567", "length", 2),
        ] {
            assert_eq!(number(text, name), want, "{text}: {name}");
        }
        assert_eq!(number(&"'".repeat(1000), "single_quotes"), 255);
    }

    #[test]
    fn a_sign_is_more_than_ordinary_text_has() {
        for (text, want) in [
            ("hello world", false),
            ("select your seats", false),
            ("SELECT a FROM t WHERE b = 'x' AND c > 1", false),
            ("1' or '1'='1", true),
            ("x\" union select 1", true),
            ("admin'--", true),
            ("1 union select 1,2", true),
            ("24 seats or more", false),
            ("o'brien", false),
            ("../../x", true),
            ("../x", false),
            ("../etc/x", true),
            ("/etc/passwd", true),
            ("a -- b", false),
            ("price (new)", false),
            ("a=b&c=d", false),
            ("<script>alert(1)</script>", true),
            ("alert('hi')", false),
            ("a < img", false),
            ("${jndi:ldap://x}", true),
            ("; cat x", true),
            ("a\u{0}b", true),
        ] {
            let mut facts = Facts::default();
            read(text.as_bytes(), &mut facts);
            assert_eq!(facts.has_sign(), want, "{text}");
        }
    }

    #[test]
    fn plain_texts_are_told() {
        for (text, want) in [
            ("abc-12_3.5", true),
            (" +", true),
            ("", true),
            ("a b", false),
            ("a..b", false),
            ("1--", false),
            ("é", false),
        ] {
            assert_eq!(is_plain(text.as_bytes()), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_symbols_never_outgrow_the_text(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut facts = Facts::default();
            read(&text, &mut facts);
            prop_assert!(facts.symbols.len() <= text.len() + 2);
            prop_assert_eq!((facts.symbols.first(), facts.symbols.last()), (Some(&START), Some(&END)));
        }

        /// Numbers are one symbol: which they are says nothing.
        #[test]
        fn numbers_are_alike(one in 0..1_000_000_u32, other in 0..1_000_000_u32) {
            prop_assert_eq!(symbols(&format!("id={one}' or {one}")), symbols(&format!("id={other}' or {other}")));
        }
    }
}
