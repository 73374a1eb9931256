//! Tar streams written by hand, so that they can be what no tool writes.

/// A stream in the making.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

/// One header as it stands in the stream.
#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) mode: u64,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) size: u64,
    pub(crate) mtime: u64,
    pub(crate) target: Vec<u8>,
    pub(crate) device: (u64, u64),
}

/// A header of an entry of root's, from the second 1000.
pub(crate) fn header(kind: u8, name: impl AsRef<[u8]>) -> Header {
    Header {
        name: name.as_ref().to_vec(),
        kind,
        mode: if kind == b'5' { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        size: 0,
        mtime: 1000,
        target: Vec::new(),
        device: (0, 0),
    }
}

impl Header {
    pub(crate) fn bytes(&self) -> [u8; 512] {
        let mut block = [0; 512];
        block[..self.name.len()].copy_from_slice(&self.name);
        octal(&mut block[100..108], self.mode);
        octal(&mut block[108..116], self.uid);
        octal(&mut block[116..124], self.gid);
        octal(&mut block[124..136], self.size);
        octal(&mut block[136..148], self.mtime);
        block[156] = self.kind;
        block[157..157 + self.target.len()].copy_from_slice(&self.target);
        block[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut block[329..337], self.device.0);
        octal(&mut block[337..345], self.device.1);
        seal(&mut block);
        block
    }
}

fn octal(field: &mut [u8], number: u64) {
    let digits = format!("{number:0width$o}", width = field.len() - 1);
    field[..digits.len()].copy_from_slice(digits.as_bytes());
}

/// Writes a header's checksum.
pub(crate) fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
}

impl Tar {
    pub(crate) fn new() -> Tar {
        Tar::default()
    }

    pub(crate) fn header(mut self, header: &Header) -> Tar {
        self.0.extend_from_slice(&header.bytes());
        self
    }

    /// Bytes, filled up to a block.
    pub(crate) fn content(mut self, bytes: &[u8]) -> Tar {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// What applies to the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..).map(|digits| digits + rest).find(|sum| sum.to_string().len() + rest == *sum).unwrap();
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.header(&Header { size: data.len() as u64, ..header(b'x', "pax") }).content(&data)
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Tar {
        self.header(&Header { size: content.len() as u64, ..header(b'0', path) }).content(content)
    }

    pub(crate) fn dir(self, path: &str) -> Tar {
        self.header(&header(b'5', path))
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Tar {
        self.header(&Header { target: target.into(), ..header(b'2', path) })
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Tar {
        self.header(&Header { target: target.into(), ..header(b'1', path) })
    }

    /// The stream with the two blocks at its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// The stream as far as it is.
    pub(crate) fn open(self) -> Vec<u8> {
        self.0
    }
}
