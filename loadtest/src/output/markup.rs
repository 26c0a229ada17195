//! Elements and text of a page, written so that it is well-formed and nothing from outside is
//! markup.
//!
//! In:       names of elements and attributes from the sources; values and text from anywhere.
//! Out:      HTML that is XML as well: every element is closed, every value quoted and escaped.
//! Bounds:   as long as what is put in.
//! Not here: what a page says (`page`), plots (`plot`).

/// An attribute: its name and its value.
pub type Attribute<'a> = (&'static str, &'a str);

/// A page as it is written.
#[derive(Debug, Default)]
pub struct Markup {
    text: String,
    /// The elements that are open, outermost first.
    open: Vec<&'static str>,
}

impl Markup {
    /// A page with its doctype.
    pub fn page() -> Markup {
        Markup { text: "<!DOCTYPE html>\n".into(), open: Vec::new() }
    }

    /// Opens an element.
    pub fn open(&mut self, name: &'static str, attributes: &[Attribute<'_>]) -> &mut Markup {
        self.begin(name, attributes);
        self.text.push('>');
        self.open.push(name);
        self
    }

    /// Closes the element that was opened last.
    ///
    /// # Panics
    /// If none is open.
    pub fn close(&mut self) -> &mut Markup {
        let name = self.open.pop().expect("an element is open");
        self.text.extend(["</", name, ">"]);
        if matches!(name, "p" | "tr" | "table" | "section" | "svg" | "li" | "div" | "head") {
            self.text.push('\n');
        }
        self
    }

    /// An element without content.
    pub fn empty(&mut self, name: &'static str, attributes: &[Attribute<'_>]) -> &mut Markup {
        self.begin(name, attributes);
        self.text.push_str("/>");
        self
    }

    /// An element of text alone.
    pub fn leaf(
        &mut self,
        name: &'static str,
        attributes: &[Attribute<'_>],
        text: &str,
    ) -> &mut Markup {
        self.open(name, attributes).text(text).close()
    }

    /// Text.
    pub fn text(&mut self, text: &str) -> &mut Markup {
        escape(text, &mut self.text);
        self
    }

    /// The page.
    ///
    /// # Panics
    /// If an element is still open.
    pub fn finish(self) -> String {
        assert!(self.open.is_empty(), "{:?} are open", self.open);
        self.text
    }

    fn begin(&mut self, name: &'static str, attributes: &[Attribute<'_>]) {
        self.text.push('<');
        self.text.push_str(name);
        for (name, value) in attributes {
            self.text.extend([" ", name, "=\""]);
            escape(value, &mut self.text);
            self.text.push('"');
        }
    }
}

/// Appends `text` as content or quoted value. What XML cannot hold becomes U+FFFD.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(letter),
            '\u{FFFE}' | '\u{FFFF}' => out.push('\u{FFFD}'),
            _ if letter.is_control() => out.push('\u{FFFD}'),
            _ => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        let hostile = "</p><script>alert('1')</script>\" onload=\"x\u{0}\u{1b}[0m&amp;";
        let mut page = Markup::default();
        page.open("p", &[("title", hostile)]).text(hostile).close();
        let page = page.finish();
        assert_eq!(page.matches('<').count(), 2, "{page}");
        assert_eq!(page.matches('"').count(), 2, "{page}");
        assert!(!page.contains(['\u{0}', '\u{1b}', '\'']), "{page}");
    }

    #[test]
    #[should_panic(expected = "are open")]
    fn a_page_with_an_open_element_is_not_finished() {
        let mut page = Markup::page();
        page.open("p", &[]);
        page.finish();
    }
}
