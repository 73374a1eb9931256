//! Whatever a shell does to write, the same lands; what is refused is seen and changes nothing.

use std::fs;

use crate::support::{Mounted, Scratch, text};
use crate::tools::{SHELLS, json, need, need_shells, refusals, shell, whole};

/// A valid entry always lands; whether a refusal can show in the exit status is said for each way.
struct Way {
    name: &'static str,
    script: &'static str,
    /// Whether the write that completes the value is one whose result the shell hears.
    tells: bool,
}

const fn way(name: &'static str, script: &'static str) -> Way {
    Way { name, script, tells: true }
}

/// Ways to write the line $V to the value $F; $T is a file elsewhere.
const VALUE_WAYS: [Way; 16] = [
    way("echo", r#"echo "$V" > "$F""#),
    way("printf", r#"printf '%s\n' "$V" > "$F""#),
    way("an external echo", r#"/bin/echo "$V" > "$F""#),
    way("a here document", "cat <<EOF > \"$F\"\n$V\nEOF"),
    way("tee", r#"echo "$V" | tee "$F" > /dev/null"#),
    way("tee -a", r#"echo "$V" | tee -a "$F" > /dev/null"#),
    way("dd", r#"echo "$V" | dd bs=1 of="$F" 2> /dev/null"#),
    way("dd without truncation", r#"echo "$V" | dd bs=1 conv=notrunc of="$F" 2> /dev/null"#),
    way("cp", r#"echo "$V" > "$T"; cp "$T" "$F""#),
    way("cat", r#"echo "$V" > "$T"; cat "$T" > "$F""#),
    way(">>", r#"echo "$V" >> "$F""#),
    way("value, then newline", r#"{ printf %s "$V"; echo; } > "$F""#),
    way("value, then newline, by two programs", r#"{ /usr/bin/printf %s "$V"; /bin/echo; } > "$F""#),
    way("a descriptor of its own", r#"exec 4> "$F"; echo "$V" >&4"#),
    Way { name: "no newline", script: r#"printf %s "$V" > "$F""#, tells: false },
    Way { name: "no newline, by a program", script: r#"{ /usr/bin/printf %s "$V"; } > "$F""#, tells: false },
];

/// Ways to write the document in the file $D to $F.
const DOCUMENT_WAYS: [Way; 10] = [
    way("cat", r#"cat "$D" > "$F""#),
    way("echo", r#"echo "$(cat "$D")" > "$F""#),
    way("printf", r#"printf %s "$(cat "$D")" > "$F""#),
    way("a here document", "cat <<EOF > \"$F\"\n$(cat \"$D\")\nEOF"),
    way("tee", r#"tee "$F" < "$D" > /dev/null"#),
    way("cp", r#"cp "$D" "$F""#),
    way("dd", r#"dd bs=4096 if="$D" of="$F" 2> /dev/null"#),
    way("dd of odd blocks", r#"dd bs=777 if="$D" of="$F" 2> /dev/null"#),
    way("jq", r#"jq . "$D" > "$F""#),
    way("jq -c", r#"jq -c . "$D" > "$F""#),
];

const BYTEWISE: Way = way("dd bs=1", r#"dd bs=1 if="$D" of="$F" 2> /dev/null"#);

#[test]
fn a_value_lands_whatever_the_way() {
    need_shells();
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    let elsewhere = scratch.path().join("value");
    let id = tree.make("web");
    let values = [
        ("status", "running", "exited"),
        ("pid", "4194304", "7"),
        ("exit-code", "-1", "137"),
        ("netns", "/run/netns/a b", "/run/netns/c"),
    ];
    for sh in SHELLS {
        for way in &VALUE_WAYS {
            for (entry, value, other) in values {
                let file = format!("ctr/{id}/{entry}");
                tree.echo(other, &file).unwrap();
                let variables = [("F", file.as_str()), ("V", value), ("T", elsewhere.to_str().unwrap())];
                let output = shell(&tree, sh, &variables, way.script);
                let case = format!("{sh:?}, {}, {entry}: {}", way.name, text(&output));
                assert!(output.status.success(), "{case}");
                assert_eq!(tree.read(&file), format!("{value}\n"), "{case}");
            }
        }
    }
    assert_eq!(refusals(&tree).len(), 0, "{}", tree.read("refusals"));
}

#[test]
fn a_bad_value_is_told_and_changes_nothing() {
    need_shells();
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    let elsewhere = scratch.path().join("value");
    let id = tree.make("web");
    tree.echo("running", "ctr/web/status").unwrap();
    tree.echo("7", "ctr/web/pid").unwrap();
    let object = format!("ctr/{id}");
    let bad = [("status", "bogus"), ("pid", "x7"), ("exit-code", "2147483648"), ("netns", "relative"), ("name", "a b")];
    for sh in SHELLS {
        for way in &VALUE_WAYS {
            for (entry, value) in bad {
                let (before, count) = (whole(&tree, &object), refusals(&tree).len().min(900));
                let file = format!("{object}/{entry}");
                let variables = [("F", file.as_str()), ("V", value), ("T", elsewhere.to_str().unwrap())];
                let output = shell(&tree, sh, &variables, way.script);
                let case = format!("{sh:?}, {}, {entry}: {}", way.name, text(&output));
                assert_eq!(whole(&tree, &object), before, "{case}");
                assert!(!way.tells || !output.status.success(), "nobody was told: {case}");
                assert!(refusals(&tree).len() > count, "no line: {case}");
                let last = tree.last_refusal();
                assert!(last.contains("EINVAL"), "{case}: {last}");
            }
        }
    }
}

#[test]
fn a_document_lands_whatever_the_way() {
    need_shells();
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    let (small, large) = (scratch.path().join("small"), scratch.path().join("large"));
    fs::write(&small, document(100)).unwrap();
    fs::write(&large, document(6000)).unwrap();
    assert!(fs::metadata(&small).unwrap().len() > 4096, "a page of jq's is not enough for it");
    assert!(fs::metadata(&large).unwrap().len() > 300_000);
    let id = tree.make("web");
    let file = format!("ctr/{id}/config");
    let blank = r#"{"labels":{}}"#;
    let mut landed = Vec::new();
    for sh in SHELLS {
        let all = DOCUMENT_WAYS.iter().flat_map(|way| [(way, &small), (way, &large)]).chain([(&BYTEWISE, &small)]);
        for (way, source) in all {
            tree.echo(blank, &file).unwrap();
            let variables = [("F", file.as_str()), ("D", source.to_str().unwrap())];
            let output = shell(&tree, sh, &variables, way.script);
            let case = format!("{sh:?}, {}, {source:?}: {}", way.name, text(&output));
            assert!(output.status.success(), "{case}");
            landed.push((source, case, tree.read(&file)));
        }
    }
    for source in [&small, &large] {
        let same: Vec<_> = landed.iter().filter(|(of, ..)| *of == source).collect();
        assert!(same[0].2.len() as u64 >= fs::metadata(source).unwrap().len() / 2);
        same.iter().for_each(|(_, case, bytes)| assert!(*bytes == same[0].2, "differs: {case}"));
    }
    assert_eq!(refusals(&tree).len(), 0, "{}", tree.read("refusals"));
}

/// A config of some 55 bytes a key, without a character that a shell's echo would change.
fn document(keys: usize) -> String {
    let lines: Vec<String> = (0..keys).map(|n| format!("    \"key-{n:06}\": \"{}\"", "value ".repeat(6))).collect();
    format!("{{\n  \"labels\": {{\n{}\n  }}\n}}\n", lines.join(",\n"))
}

#[test]
fn a_bad_document_is_told_and_changes_nothing() {
    need_shells();
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    let source = scratch.path().join("bad");
    let id = tree.make("web");
    let (object, file) = (format!("ctr/{id}"), format!("ctr/{id}/config"));
    tree.echo(r#"{"labels":{"a":"b"},"x":[1,2]}"#, &file).unwrap();
    let large = document(200).replacen("key-000150\":", "key-000150\",", 1);
    let bad = [
        "{bad}",
        r#"{"labels":{"a":1}}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a":1} x"#,
        "[1]",
        "7",
        "NaN",
        r#"{"id":"other"}"#,
        r#"{"a":01}"#,
        &large,
    ];
    for sh in SHELLS {
        for text_of in bad {
            fs::write(&source, format!("{text_of}\n")).unwrap();
            // jq mends, merges or refuses by itself what it reads.
            for way in DOCUMENT_WAYS.iter().filter(|way| !way.name.starts_with("jq")).chain([&BYTEWISE]) {
                if text_of == r#"{"a":1} x"# && way.name == BYTEWISE.name {
                    continue; // Byte by byte, the good document is complete before the bad byte comes.
                }
                let before = whole(&tree, &object);
                let variables = [("F", file.as_str()), ("D", source.to_str().unwrap())];
                let output = shell(&tree, sh, &variables, way.script);
                let case = format!("{sh:?}, {}, {:.20}: {}", way.name, text_of, text(&output));
                assert_eq!(whole(&tree, &object), before, "{case}");
                assert!(
                    !output.status.success() || (way.name == "printf" && text_of == "7"),
                    "nobody was told: {case}"
                );
            }
        }
    }
}

/// A loop that does not look at results goes on after a refused byte.
#[test]
fn a_bad_document_byte_by_byte_in_a_loop_changes_nothing() {
    need_shells();
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    let source = scratch.path().join("bytes");
    let id = tree.make("web");
    let object = format!("ctr/{id}");
    label(&tree);
    let script = r#"while read -r byte; do printf %s "$byte"; done < "$D" > "$F"; true"#;
    for sh in SHELLS {
        for bad in ["{bad}", r#"{"labels":{bad}}"#, r#"{"a":1x}"#, r#"{,"a":1}"#] {
            for file in ["config", "state"] {
                let before = whole(&tree, &object);
                fs::write(&source, bad.chars().map(|c| format!("{c}\n")).collect::<String>()).unwrap();
                let file = format!("{object}/{file}");
                shell(&tree, sh, &[("F", &file), ("D", source.to_str().unwrap())], script);
                assert_eq!(whole(&tree, &object), before, "{sh:?} {bad}");
            }
        }
        let good = r#"{"labels":{"by":"bytes"}}"#;
        fs::write(&source, good.chars().map(|c| format!("{c}\n")).collect::<String>()).unwrap();
        shell(&tree, sh, &[("F", "ctr/web/config"), ("D", source.to_str().unwrap())], script);
        assert_eq!(json(&tree, "ctr/web/config")["labels"]["by"], "bytes", "{sh:?}");
        label(&tree);
    }
}

fn label(tree: &Mounted) {
    tree.echo(r#"{"labels":{"a":"b"}}"#, "ctr/web/config").unwrap();
}

#[test]
fn a_cut_document_is_dropped_and_noted() {
    need_shells();
    let tree = Mounted::new();
    let id = tree.make("web");
    let object = format!("ctr/{id}");
    for (round, sh) in SHELLS.iter().enumerate() {
        let before = whole(&tree, &object);
        shell(&tree, sh, &[], r#"echo '{"labels":{"a":"b"}' > ctr/web/config"#);
        assert_eq!(whole(&tree, &object), before, "{sh:?}");
        let lines = refusals(&tree);
        assert_eq!(lines.len(), round + 1, "{sh:?}: {lines:?}");
        assert_eq!((&lines[round]["op"], &lines[round]["errno"]), (&"close".into(), &"EINVAL".into()), "{sh:?}");
    }
}

#[test]
fn opening_and_truncating_change_nothing() {
    need_shells();
    let tree = Mounted::new();
    let id = tree.make("web");
    tree.echo("running", "ctr/web/status").unwrap();
    let object = format!("ctr/{id}");
    let before = whole(&tree, &object);
    for sh in SHELLS {
        for script in [
            ": > \"$F\"",
            "> \"$F\"",
            ": >> \"$F\"",
            "exec 4> \"$F\"",
            "truncate -s 0 \"$F\"",
            "cat /dev/null > \"$F\"",
        ] {
            for entry in ["config", "state", "name", "status", "pid", "exit-code", "netns"] {
                let file = format!("{object}/{entry}");
                let output = shell(&tree, sh, &[("F", &file)], script);
                assert!(output.status.success(), "{sh:?} {script} {entry}: {}", text(&output));
                assert_eq!(whole(&tree, &object), before, "{sh:?} {script} {entry}");
            }
        }
    }
    assert_eq!(refusals(&tree).len(), 0, "{}", tree.read("refusals"));
}

#[test]
fn an_empty_line_clears_what_can_be_unset() {
    need_shells();
    let tree = Mounted::new();
    tree.make("web");
    for sh in SHELLS {
        for (entry, value) in [("netns", "/run/netns/a"), ("pid", "7"), ("exit-code", "3")] {
            tree.echo(value, &format!("ctr/web/{entry}")).unwrap();
            assert!(shell(&tree, sh, &[], &format!("echo > ctr/web/{entry}")).status.success(), "{sh:?} {entry}");
            assert_eq!(tree.read(&format!("ctr/web/{entry}")), "\n", "{sh:?} {entry}");
        }
        for entry in ["status", "name"] {
            let before = tree.read(&format!("ctr/web/{entry}"));
            assert!(!shell(&tree, sh, &[], &format!("echo > ctr/web/{entry}")).status.success(), "{sh:?} {entry}");
            assert_eq!(tree.read(&format!("ctr/web/{entry}")), before, "{sh:?} {entry}");
        }
    }
    assert!(json(&tree, "ctr/web/state").get("netns").is_none());
}

#[test]
fn several_commands_share_one_redirection() {
    need_shells();
    let tree = Mounted::new();
    tree.make("web");
    for sh in SHELLS {
        for (echo, printf) in [("echo", "printf"), ("/bin/echo", "/usr/bin/printf")] {
            let run = |script: &str| {
                let output = shell(&tree, sh, &[], &script.replace("ECHO", echo).replace("PRINTF", printf));
                assert!(output.status.success(), "{sh:?} {echo} {script}: {}", text(&output));
            };
            run("{ ECHO running; ECHO exited; } > ctr/web/status");
            assert_eq!(tree.read("ctr/web/status"), "exited\n", "{sh:?} {echo}: the last stands");
            run("{ PRINTF 1; PRINTF 2; ECHO 3; } > ctr/web/pid");
            assert_eq!(tree.read("ctr/web/pid"), "123\n", "{sh:?} {echo}: one line in pieces");
            run(r#"{ ECHO '{"a":1}'; ECHO '{"b":2}'; } > ctr/web/config"#);
            let config = json(&tree, "ctr/web/config");
            assert_eq!((config.get("a"), &config["b"]), (None, &2.into()), "{sh:?} {echo}: each replaces");
            run(r#"{ ECHO '{"a":1}'; ECHO '{"c":3}'; } >> ctr/web/config"#);
            let config = json(&tree, "ctr/web/config");
            assert_eq!((&config["a"], &config["b"], &config["c"]), (&1.into(), &2.into(), &3.into()), "{sh:?} {echo}");
            run(r#"{ PRINTF '{"d"'; ECHO ': 4}'; } >> ctr/web/config"#);
            assert_eq!(json(&tree, "ctr/web/config")["d"], 4, "{sh:?} {echo}: one document in pieces");
        }
    }
}

#[test]
fn appending_merges_and_null_deletes() {
    need_shells();
    let tree = Mounted::new();
    tree.make("web");
    for sh in SHELLS {
        tree.echo(r#"{"labels":{"a":"1","b":"2"},"x":{"y":1}}"#, "ctr/web/config").unwrap();
        let patch = r#"echo '{"labels":{"b":null,"c":"3"},"x":null,"command":["sh"]}' >> ctr/web/config"#;
        assert!(shell(&tree, sh, &[], patch).status.success());
        let config = json(&tree, "ctr/web/config");
        assert_eq!(config["labels"].to_string(), r#"{"a":"1","c":"3"}"#, "{sh:?}");
        assert_eq!((config.get("x"), config["command"].to_string()), (None, r#"["sh"]"#.to_owned()), "{sh:?}");
        assert_eq!(config["name"], "web");
    }
}

#[test]
fn a_document_can_be_filtered_onto_itself() {
    need_shells();
    let tree = Mounted::new();
    tree.make("web");
    for sh in SHELLS {
        let script = r#"jq '.labels = {"n": ((.labels.n // "0") + "1")}' ctr/web/config > ctr/web/config"#;
        let output = shell(&tree, sh, &[], script);
        assert!(output.status.success(), "{sh:?}: {}", text(&output));
    }
    assert_eq!(json(&tree, "ctr/web/config")["labels"]["n"], "0111");
}

#[test]
fn create_answers_on_the_descriptor_that_was_written() {
    need_shells();
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    let (one, two) = (scratch.path().join("one.json"), scratch.path().join("two.json"));
    let script = r#"
        exec 3<>create/ctr
        cat "$ONE" >&3; read -r a <&3
        cat "$TWO" >&3; read -r b <&3
        echo "$a $b"
        if read -r c <&3; then echo "more: $c"; fi"#;
    for (round, sh) in SHELLS.iter().enumerate() {
        fs::write(&one, format!(r#"{{"name":"one-{round}","labels":{{}}}}"#)).unwrap();
        fs::write(&two, format!("{{\"name\":\"two-{round}\",\n\"Dependencies\":[\"one-{round}\"]}}\n")).unwrap();
        let files = [("ONE", one.to_str().unwrap()), ("TWO", two.to_str().unwrap())];
        let output = shell(&tree, sh, &files, script);
        let expected = format!("{} {}\n", tree.id(&format!("one-{round}")), tree.id(&format!("two-{round}")));
        assert_eq!(text(&output), expected, "{sh:?}");
    }
}

#[test]
fn two_documents_in_one_write_answer_two_lines() {
    need_shells();
    let tree = Mounted::new();
    for (round, sh) in SHELLS.iter().enumerate() {
        let script = format!(
            r#"exec 3<>create/ctr; echo '{{"name":"a{round}"}} {{"name":"b{round}"}}' >&3; read -r a <&3; read -r b <&3; echo "$a $b""#
        );
        let output = shell(&tree, sh, &[], &script);
        let expected = format!("{} {}\n", tree.id(&format!("a{round}")), tree.id(&format!("b{round}")));
        assert_eq!(text(&output), expected, "{sh:?}");
    }
}

#[test]
fn fish_writes_like_the_others() {
    need("fish", "fish");
    let tree = Mounted::new();
    tree.make("web");
    let run = |script: &str| shell(&tree, &["fish", "--no-config"], &[], script);
    assert!(run("echo running > ctr/web/status").status.success());
    assert_eq!(tree.read("ctr/web/status"), "running\n");
    assert!(run(r#"echo '{"labels":{"a":"b"}}' >> ctr/web/config"#).status.success());
    assert_eq!(json(&tree, "ctr/web/config")["labels"]["a"], "b");
    assert!(run("begin; printf 4; printf 2; echo; end > ctr/web/pid").status.success());
    assert_eq!(tree.read("ctr/web/pid"), "42\n");
    assert!(!run("command echo bogus > ctr/web/status").status.success());
    assert_eq!(tree.read("ctr/web/status"), "running\n");
}

#[test]
fn flock_on_the_state_excludes() {
    need("flock", "util-linux");
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    let id = tree.make("web");
    let order = scratch.path().join("order");
    let script = r#"
        mkfifo "$ORDER.held" "$ORDER.go"
        flock "$FIRST" sh -c 'echo held > "$ORDER.held"; read -r _ < "$ORDER.go"; echo first >> "$ORDER"' &
        read -r _ < "$ORDER.held"
        flock --nonblock "$SECOND" true && echo "not excluded" >> "$ORDER"
        flock "$SECOND" sh -c 'echo second >> "$ORDER"' &
        echo go > "$ORDER.go"
        wait"#;
    let (by_name, by_id) = ("ctr/web/state".to_owned(), format!("ctr/{id}/state"));
    let variables = [("FIRST", by_name.as_str()), ("SECOND", by_id.as_str()), ("ORDER", order.to_str().unwrap())];
    let output = shell(&tree, &["bash"], &variables, script);
    assert_eq!(text(&output), "");
    assert_eq!(fs::read_to_string(&order).unwrap(), "first\nsecond\n");
    // Another container's lock is another lock.
    tree.make("db");
    let both = "flock ctr/web/state flock --nonblock ctr/db/state true";
    assert!(shell(&tree, &["bash"], &[], both).status.success());
}
