//! Finding the end of a document while it arrives.
//!
//! A pushdown automaton over bytes: constant work a byte, whatever the size of the writes, so that a
//! document written byte by byte costs no more than one written at once. It knows the grammar of RFC
//! 8259 but for what only the whole shows (duplicate keys, surrogate pairs, UTF-8), which
//! [`super::parse`] checks.

use super::MAX_DEPTH;

/// What the last byte did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// White space between documents, or between the tokens of one.
    Space,
    /// Inside a document that is not complete.
    Inside,
    /// This byte was the last of a document.
    Complete,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    CommaOrEnd,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token {
    None,
    Str { key: bool },
    Escape { key: bool },
    Unicode { key: bool, left: u8 },
    Word { rest: &'static [u8] },
    Number(Digits),
}

/// Where in `-? int frac? exp?` a number stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Digits {
    Sign,
    Zero,
    Int,
    Dot,
    Frac,
    E,
    ESign,
    Exp,
}

/// The state between bytes.
#[derive(Clone, Debug)]
pub struct Scanner {
    /// One entry a level: true for an object.
    levels: Vec<bool>,
    expect: Expect,
    token: Token,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner { levels: Vec::new(), expect: Expect::Value, token: Token::None }
    }
}

impl Scanner {
    /// Takes one byte.
    ///
    /// A document that is a bare number is complete only with the byte behind it, so that byte must be
    /// white space and counts as part of it.
    ///
    /// # Errors
    /// What no document has here.
    pub fn step(&mut self, byte: u8) -> Result<Step, &'static str> {
        match self.token {
            Token::None => self.structure(byte),
            Token::Str { key } => self.string(byte, key),
            Token::Escape { key } => self.escape(byte, key),
            Token::Unicode { key, left } => self.unicode(byte, key, left),
            Token::Word { rest } => self.word(byte, rest),
            Token::Number(at) => self.number(byte, at),
        }
    }

    fn structure(&mut self, byte: u8) -> Result<Step, &'static str> {
        match (self.expect, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => Ok(Step::Space),
            (Expect::Value | Expect::ValueOrEnd, b'{') => self.open(true, Expect::KeyOrEnd),
            (Expect::Value | Expect::ValueOrEnd, b'[') => self.open(false, Expect::ValueOrEnd),
            (Expect::ValueOrEnd, b']') => Ok(self.close()),
            (Expect::CommaOrEnd, b']') if self.levels.last() == Some(&false) => Ok(self.close()),
            (Expect::KeyOrEnd, b'}') => Ok(self.close()),
            (Expect::CommaOrEnd, b'}') if self.levels.last() == Some(&true) => Ok(self.close()),
            (Expect::CommaOrEnd, b',') => {
                let object = self.levels.last() == Some(&true);
                self.expect = if object { Expect::Key } else { Expect::Value };
                Ok(Step::Inside)
            }
            (Expect::Colon, b':') => {
                self.expect = Expect::Value;
                Ok(Step::Inside)
            }
            (Expect::Key | Expect::KeyOrEnd, b'"') => self.enter(Token::Str { key: true }),
            (Expect::Value | Expect::ValueOrEnd, _) => self.scalar(byte),
            (Expect::Key | Expect::KeyOrEnd, _) => Err("a key in double quotes is due"),
            (Expect::Colon, _) => Err("':' is due"),
            (Expect::CommaOrEnd, _) => Err("',' or the end of the object or array is due"),
        }
    }

    fn scalar(&mut self, byte: u8) -> Result<Step, &'static str> {
        match byte {
            b'"' => self.enter(Token::Str { key: false }),
            b't' => self.enter(Token::Word { rest: b"rue" }),
            b'f' => self.enter(Token::Word { rest: b"alse" }),
            b'n' => self.enter(Token::Word { rest: b"ull" }),
            b'-' => self.enter(Token::Number(Digits::Sign)),
            b'0' => self.enter(Token::Number(Digits::Zero)),
            b'1'..=b'9' => self.enter(Token::Number(Digits::Int)),
            0xef => Err("a byte-order mark or other text where a value is due"),
            _ => Err("a value is due"),
        }
    }

    fn enter(&mut self, token: Token) -> Result<Step, &'static str> {
        self.token = token;
        Ok(Step::Inside)
    }

    fn open(&mut self, object: bool, expect: Expect) -> Result<Step, &'static str> {
        if self.levels.len() >= MAX_DEPTH {
            return Err("nested too deep");
        }
        self.levels.push(object);
        self.expect = expect;
        Ok(Step::Inside)
    }

    fn close(&mut self) -> Step {
        self.levels.pop();
        self.value_done()
    }

    fn value_done(&mut self) -> Step {
        self.token = Token::None;
        if self.levels.is_empty() {
            self.expect = Expect::Value;
            return Step::Complete;
        }
        self.expect = Expect::CommaOrEnd;
        Step::Inside
    }

    fn string(&mut self, byte: u8, key: bool) -> Result<Step, &'static str> {
        match byte {
            b'"' if key => {
                self.token = Token::None;
                self.expect = Expect::Colon;
                Ok(Step::Inside)
            }
            b'"' => Ok(self.value_done()),
            b'\\' => self.enter(Token::Escape { key }),
            0..0x20 => Err("a control character in a string"),
            _ => Ok(Step::Inside),
        }
    }

    fn escape(&mut self, byte: u8, key: bool) -> Result<Step, &'static str> {
        match byte {
            b'u' => self.enter(Token::Unicode { key, left: 4 }),
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.enter(Token::Str { key }),
            _ => Err("an unknown escape in a string"),
        }
    }

    fn unicode(&mut self, byte: u8, key: bool, left: u8) -> Result<Step, &'static str> {
        if !byte.is_ascii_hexdigit() {
            return Err("\\u takes four hex digits");
        }
        self.enter(if left == 1 { Token::Str { key } } else { Token::Unicode { key, left: left - 1 } })
    }

    fn word(&mut self, byte: u8, rest: &'static [u8]) -> Result<Step, &'static str> {
        match rest {
            [last] if *last == byte => Ok(self.value_done()),
            [first, rest @ ..] if *first == byte => self.enter(Token::Word { rest }),
            _ => Err("a word that is not true, false or null"),
        }
    }

    fn number(&mut self, byte: u8, at: Digits) -> Result<Step, &'static str> {
        let next = match (at, byte) {
            (Digits::Sign, b'0') => Digits::Zero,
            (Digits::Sign, b'1'..=b'9') | (Digits::Int, b'0'..=b'9') => Digits::Int,
            (Digits::Zero | Digits::Int, b'.') => Digits::Dot,
            (Digits::Dot | Digits::Frac, b'0'..=b'9') => Digits::Frac,
            (Digits::Zero | Digits::Int | Digits::Frac, b'e' | b'E') => Digits::E,
            (Digits::E, b'+' | b'-') => Digits::ESign,
            (Digits::E | Digits::ESign | Digits::Exp, b'0'..=b'9') => Digits::Exp,
            (Digits::Zero | Digits::Int | Digits::Frac | Digits::Exp, _) => return self.number_done(byte),
            _ => return Err("a number that ends too early"),
        };
        self.enter(Token::Number(next))
    }

    fn number_done(&mut self, byte: u8) -> Result<Step, &'static str> {
        match self.value_done() {
            Step::Complete if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => Ok(Step::Complete),
            Step::Complete => Err("text behind a number"),
            _ => self.structure(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Scanner, Step};

    fn ends(text: &str) -> Result<Vec<usize>, usize> {
        let mut scanner = Scanner::default();
        let mut ends = Vec::new();
        for (at, byte) in text.bytes().enumerate() {
            if scanner.step(byte).map_err(|_| at)? == Step::Complete {
                ends.push(at);
            }
        }
        Ok(ends)
    }

    #[test]
    fn documents_end_where_they_end() {
        assert_eq!(ends(r#"{"a":[1,2,{"b":null}]} [] "x" 12 true"#), Ok(vec![21, 24, 28, 32, 36]));
        assert_eq!(ends(r#"{"a":"}"#), Ok(vec![]));
        assert_eq!(ends("-0.5e+3\n"), Ok(vec![7]));
    }

    #[test]
    fn what_no_document_has_is_refused_at_its_byte() {
        for (text, at) in [
            ("{bad", 1),
            ("{\"a\" 1", 5),
            ("[1,]", 3),
            ("01", 1),
            ("{}}", 2),
            ("[}", 1),
            ("NaN", 0),
            ("nan", 1),
            ("\"a\nb", 2),
            ("1x", 1),
            ("\u{feff}{}", 0),
            ("{,}", 1),
        ] {
            assert_eq!(ends(text), Err(at), "{text:?}");
        }
    }
}
