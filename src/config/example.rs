//! The commented example of a configuration, `deploy/vocaris.example.toml`, as a table of defaults.
//!
//! In:       the file, built into the program. Every key stands in it on a line of its own behind a
//!           `#`: with its default; or, where that cannot be written down, with an example and a
//!           remark that begins with one of [`REMARKS`].
//! Out:      the default of a key; the keys; the file with any choice of its lines in force.
//! Not here: whether the file is true: `tests/config_example.rs` holds it against the code.

/// The file.
pub const EXAMPLE: &str = include_str!("../../deploy/vocaris.example.toml");
/// How the remark behind a value begins that is no default: there is none, or it depends on other
/// settings.
pub const REMARKS: [&str; 2] = ["no default", "depends"];
/// Between a value and its remark.
const REMARK_SIGN: &str = "  # ";

/// A key in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'e> {
    /// The table it stands in, such as `server` or `appointments.hours`.
    pub table: &'e str,
    /// Its name there.
    pub name: &'e str,
    /// Its value, as TOML writes it.
    pub value: &'e str,
    /// Whether that is the default.
    pub is_default: bool,
}

/// What a line of the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'e> {
    /// `[table]` or `[[table]]`, in force or not.
    Table(&'e str),
    /// A key that is not in force.
    Key(Entry<'e>),
    /// Words, or nothing.
    Words,
}

/// The lines of `file`, with their text.
pub fn lines(file: &str) -> impl Iterator<Item = (&str, Line<'_>)> {
    let mut table = "";
    file.lines().map(move |text| {
        let bare = text.strip_prefix('#').unwrap_or(text);
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = name.trim_matches(['[', ']']);
            return (text, Line::Table(table));
        }
        let key = bare.split_once(" = ").filter(|(name, _)| {
            text.starts_with('#')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        let Some((name, value)) = key else { return (text, Line::Words) };
        let (value, remark) = value.rsplit_once(REMARK_SIGN).unwrap_or((value, ""));
        let is_default = !REMARKS.iter().any(|begins| remark.starts_with(begins));
        (text, Line::Key(Entry { table, name, value: value.trim_end(), is_default }))
    })
}

/// Every key of the file.
pub fn entries() -> impl Iterator<Item = Entry<'static>> {
    lines(EXAMPLE).filter_map(|(_, line)| match line {
        Line::Key(entry) => Some(entry),
        _ => None,
    })
}

/// The default of `key`, as TOML writes it; `None` where there is none, or it depends.
pub fn default_of(key: &str) -> Option<&'static str> {
    let (table, name) = key.rsplit_once('.')?;
    let entry = entries().find(|entry| (entry.table, entry.name) == (table, name))?;
    entry.is_default.then_some(entry.value)
}

/// The file with the keys in force that `choose` picks: with the value it returns, or, with `None`,
/// left as they are. Tables of a list are in force if one of their keys is.
pub fn with(choose: impl Fn(Entry<'static>) -> Option<String>) -> String {
    let mut text = String::new();
    let mut waiting = None;
    for (line, what) in lines(EXAMPLE) {
        let line = match what {
            Line::Table(_) => {
                waiting = Some(line.trim_start_matches('#'));
                continue;
            }
            Line::Key(entry) => match choose(entry) {
                Some(value) => format!("{} = {value}", entry.name),
                None => continue,
            },
            Line::Words => continue,
        };
        if let Some(table) = waiting.take() {
            text.push_str(table);
            text.push('\n');
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}
