//! A sandbox is there with its infra container or not at all, whenever the server or all of it dies, and
//! one that is damaged can be removed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::all_or_none::{Seen, pause, while_dying, while_dying_at, write_at_once};
use crate::load::{kill_at_random, kill_both, kills};
use crate::rows::{edit, infra, replace_row, serial};
use crate::support::images::{Image, names_in};
use crate::support::{Mounted, Random, errno, is_mounted, kill, seed, wait_until};

fn with_image() -> Mounted {
    let tree = Mounted::new();
    Image::new("pause", &["base"]).import(&tree, &["pause"]);
    tree
}

fn id(round: usize) -> String {
    format!("{:064x}", 0xa000_0000_0000_u64 + round as u64)
}

fn document(round: usize) -> String {
    let id = id(round);
    format!(r#"{{"podName":"p{round}","podID":"{id}","imageName":"pause","containerName":"i{round}"}}"#) + "\n"
}

fn member(round: usize) -> String {
    document(round).replace(&format!("\"i{round}\""), &format!("\"m{round}\""))
}

/// How many of its parts a round's sandbox has: all that the tree shows of it.
fn found(tree: &Mounted, round: usize) -> usize {
    let id = id(round);
    let parts = [
        format!("name/p{round}"),
        format!("name/i{round}"),
        format!("id/{id}"),
        format!("pod/{id}"),
        format!("ctr/{id}"),
        format!("layer/{id}"),
        format!("pod/{id}/containers/{id}"),
        format!("ctr/{id}/image"),
    ];
    parts.iter().filter(|part| tree.path(part).symlink_metadata().is_ok()).count()
}

const PARTS: usize = 8;

fn is_sound(tree: &Mounted, round: usize) {
    assert!(tree.read("check").starts_with("ok"), "round {round}: {}", tree.read("check"));
}

#[test]
fn a_sandbox_is_made_whole_or_not_at_all() {
    let tree = with_image();
    let (mut random, mut seen) = (Random(seed()), Seen::default());
    for round in 0..kills(60) {
        let (path, text) = (tree.path("create/sandbox"), document(round));
        let instant = seen.instant(&mut random);
        let made = while_dying_at(instant, move || write_at_once(&path, &text), || kill_both(&tree));
        tree.mount();
        let found = found(&tree, round);
        assert!(!made || found == PARTS, "round {round}: acknowledged, and {found} parts are there");
        seen.count(found, PARTS, found > 0);
        is_sound(&tree, round);
    }
    seen.must_be_both();
}

#[test]
fn a_sandbox_is_made_once_although_servers_die() {
    let tree = with_image();
    let mut random = Random(seed());
    for round in 0..kills(20) {
        let (path, text) = (tree.path("create/sandbox"), document(round));
        let made = while_dying(move || write_at_once(&path, &text), || kill_server(&tree, &mut random, round));
        assert!(made, "the next server answers");
        assert_eq!(found(&tree, round), PARTS, "round {round}");
    }
    assert_eq!(names_in(&tree.path("pod")).len(), names_in(&tree.path("ctr")).len());
}

#[test]
fn a_sandbox_goes_whole_or_stays() {
    let tree = with_image();
    let (mut random, mut seen) = (Random(seed()), Seen::default());
    for round in 0..kills(60) {
        write_at_once(&tree.path("create/sandbox"), &document(round)).unwrap();
        let recursive = round % 2 == 1;
        if recursive {
            write_at_once(&tree.path("create/ctr"), &member(round)).unwrap();
        }
        let (pod, control) = (tree.path(&format!("pod/{}", id(round))), tree.path("control"));
        let order = format!("{{\"verb\":\"remove\",\"pod\":\"p{round}\",\"recursive\":true}}\n");
        let remove = move || if recursive { write_at_once(&control, &order) } else { fs::remove_dir(pod) };
        let gone = while_dying_at(seen.instant(&mut random), remove, || kill_both(&tree));
        tree.mount();
        let found = found(&tree, round);
        assert!(!gone || found == 0, "round {round}: acknowledged, and {found} parts are left");
        let member = tree.path(&format!("name/m{round}")).symlink_metadata().is_ok();
        assert_eq!(member, recursive && found > 0, "round {round}: what else was in it");
        seen.count(found, PARTS, found == 0);
        is_sound(&tree, round);
    }
    seen.must_be_both();
}

#[test]
fn a_mounted_sandbox_goes_although_servers_die() {
    let tree = with_image();
    let mut random = Random(seed());
    for round in 0..kills(20) {
        write_at_once(&tree.path("create/sandbox"), &document(round)).unwrap();
        tree.echo("1", &format!("ctr/i{round}/mounted")).unwrap();
        let (pod, rootfs) = (tree.path(&format!("pod/{}", id(round))), tree.path(&format!("ctr/{}/rootfs", id(round))));
        assert!(is_mounted(&rootfs));
        let gone = while_dying(move || fs::remove_dir(pod), || kill_server(&tree, &mut random, round));
        assert!(gone, "round {round}: the next server answers");
        assert_eq!(found(&tree, round), 0, "round {round}");
        wait_until("its mounts are gone", || !is_mounted(&rootfs));
    }
    assert_eq!(names_in(&tree.store.join("ctr")), [""; 0]);
}

/// Kills the server soon; now and then one that has lived for a while, so that the keeper starts the next
/// at once.
fn kill_server(tree: &Mounted, random: &mut Random, round: usize) {
    if round % 4 == 3 {
        kill_at_random(tree, random, round);
    } else {
        pause(random, Duration::from_millis(2));
        kill(tree.server());
    }
}

/// Damages what the store has of a sandbox, and removes it.
fn damaged(damage: impl FnOnce(&redb::WriteTransaction), says: &str) {
    let tree = with_image();
    write_at_once(&tree.path("create/sandbox"), &document(0)).unwrap();
    tree.unmount();
    edit(&tree.store, damage);
    tree.mount();
    assert!(tree.read("check").contains(says), "{says}: {}", tree.read("check"));
    assert_eq!(names_in(&tree.path("ctr")), [id(0)], "{says}");
    assert_eq!(errno(fs::remove_dir(tree.path(&format!("ctr/{}", id(0))))), Errno::EBUSY, "{says}");
    fs::remove_dir(tree.path(&format!("pod/{}", id(0)))).unwrap_or_else(|error| panic!("{says}: {error}"));
    for dir in ["ctr", "pod", "name", "id"] {
        assert_eq!(names_in(&tree.path(dir)), [""; 0], "{says}: {dir}");
    }
    is_sound(&tree, 0);
    assert!(!Path::new(&tree.store.join("ctr").join(id(0))).exists());
}

#[test]
fn a_damaged_sandbox_can_be_removed() {
    damaged(|txn| replace_row(txn, infra(txn, &id(0)), |_| vec![0xff; 40]), "does not decode");
    damaged(|txn| replace_row(txn, serial(txn, &id(0)), |_| vec![0xff; 40]), "does not decode");
    damaged(
        |txn| {
            let more: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("more");
            let infra = infra(txn, &id(0));
            txn.open_table(more).unwrap().remove(infra).unwrap();
        },
        "told in two ways",
    );
}
