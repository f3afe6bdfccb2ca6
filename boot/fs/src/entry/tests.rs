use std::vec::Vec;

use super::*;

fn entry<'a>(name: &'a str, text: &'a str) -> Entry<'a> {
    Entry::parse(name, text.as_bytes()).unwrap()
}

#[test]
fn the_example_of_the_specification() {
    let entry = entry(
        "6a9857a393724b7a981ebb5b8495b9ea-3.8.0-2.fc19.x86_64.conf",
        "# /boot/loader/entries/6a9857a393724b7a981ebb5b8495b9ea-3.8.0-2.fc19.x86_64.conf\n\
         title        Fedora 19 (Rawhide)\n\
         sort-key     fedora\n\
         machine-id   6a9857a393724b7a981ebb5b8495b9ea\n\
         version      3.8.0-2.fc19.x86_64\n\
         options      root=UUID=6d3376e4-fc93-4509-95ec-a21d68011da2 quiet\n\
         architecture x64\n\
         linux        /6a9857a393724b7a981ebb5b8495b9ea/3.8.0-2.fc19.x86_64/linux\n\
         initrd       /6a9857a393724b7a981ebb5b8495b9ea/3.8.0-2.fc19.x86_64/initrd\n",
    );
    assert_eq!(entry.title(), Some("Fedora 19 (Rawhide)"));
    assert_eq!(entry.sort_key(), Some("fedora"));
    assert_eq!(entry.machine_id(), Some("6a9857a393724b7a981ebb5b8495b9ea"));
    assert_eq!(entry.version(), Some("3.8.0-2.fc19.x86_64"));
    assert_eq!(entry.linux(), Some("/6a9857a393724b7a981ebb5b8495b9ea/3.8.0-2.fc19.x86_64/linux"));
    assert_eq!(entry.initrds().count(), 1);
    assert_eq!(entry.check("X64"), Ok(()));
    assert_eq!(entry.check("aa64"), Err(Error::OtherArchitecture));
}

#[test]
fn repeated_options_and_initrds_add_up_in_order() {
    let entry = entry(
        "moby.conf",
        "options console=ttyS0\r\n\tinitrd\t /ucode.cpio\r\nlinux /k\r\n\r\noptions\tquiet  splash \r\ninitrd /initrd.img\r\n",
    );
    assert_eq!(entry.initrds().collect::<Vec<_>>(), ["/ucode.cpio", "/initrd.img"]);
    let mut line = [0; 64];
    assert_eq!(entry.write_options(&mut line), Some("console=ttyS0 quiet  splash"));
    assert_eq!(entry.options_len(), "console=ttyS0 quiet  splash".len());
    assert_eq!(entry.write_options(&mut [0; 26]), None);
}

#[test]
fn unknown_keys_and_comments_are_ignored() {
    let entry = entry("a.conf", "#linux /commented\nlinuxes /no\ngrub_users $x\nlinux\nlinux /k\nbare\n");
    assert_eq!(entry.linux(), Some("/k"));
    assert_eq!(entry.title(), None);
    assert_eq!(entry.options_len(), 0);
    assert_eq!(entry.write_options(&mut []), Some(""));
}

#[test]
fn an_entry_without_a_kernel_is_named_as_such() {
    assert_eq!(entry("a.conf", "efi /shell.efi\n").check("x64"), Err(Error::NoKernel));
    assert_eq!(Entry::parse("a.conf", b"linux \xff\n").err(), Some(Error::NotText));
}

#[test]
fn an_entry_may_name_a_unified_kernel_image_instead() {
    let text = "uki /EFI/BOOT/BOOTX64.EFI\narchitecture x64\n";
    assert_eq!(entry("a.conf", text).uki(), Some("/EFI/BOOT/BOOTX64.EFI"));
    assert_eq!(entry("a.conf", text).check("x64"), Ok(()));
    assert_eq!(entry("a.conf", text).check("aa64"), Err(Error::OtherArchitecture));
}

#[test]
fn entry_names() {
    for (name, expected) in [("a.conf", true), ("A.CONF", true), (".conf", false), ("a.conf~", false), ("é", false)] {
        assert_eq!(is_entry_name(name), expected, "{name}");
    }
}

/// Names in the order they must come in, from files given in the reverse order.
fn ordered(files: &[(&str, &str)]) {
    let mut entries: Vec<_> = files.iter().rev().map(|(name, text)| entry(name, text)).collect();
    entries.sort_by(Entry::order);
    let names: Vec<_> = entries.iter().map(|entry| entry.stem).collect();
    let expected: Vec<_> = files.iter().map(|(name, _)| stem(name).unwrap()).collect();
    assert_eq!(names, expected);
}

#[test]
fn order_by_sort_key_then_machine_then_version_then_name() {
    ordered(&[
        ("z.conf", "sort-key a\nmachine-id 1\nversion 6.10"),
        ("y.conf", "sort-key a\nmachine-id 1\nversion 6.9"),
        ("x.conf", "sort-key a\nmachine-id 2\nversion 7"),
        ("w-10.conf", "sort-key b"),
        ("w-9.conf", "sort-key b"),
        ("q-5.conf", "machine-id 0\nversion 1"),
        ("p-6.conf", "machine-id 9\nversion 9"),
    ]);
}

#[test]
fn exhausted_entries_come_last_and_counters_do_not_count_as_versions() {
    ordered(&[
        ("linux-6.9+1-2.conf", "linux /k"),
        ("linux-6.8.conf", "linux /k"),
        ("linux-6.7+3.conf", "linux /k"),
        ("linux-6.10+0-3.conf", "linux /k\nsort-key a"),
    ]);
}

#[test]
fn systemds_own_test_of_the_order() {
    ordered(&[
        ("d.conf", "sort-key kkkk\nversion 100\nmachine-id 81c6e3147cf544c19006af023e22b292"),
        ("cx.conf", "sort-key xxxx\nversion 10\nmachine-id 309de666fd5044268a9a26541ac93176"),
        ("c.conf", "sort-key xxxx\nversion 5\nmachine-id 309de666fd5044268a9a26541ac93176"),
        ("b.conf", "version 3\nmachine-id b75451ad92f94feeab50b0b442768dbd"),
        ("a-10.conf", "version 10\nmachine-id dd235d00696545768f6f693bfd23b15f"),
        ("a-5.conf", "version 5\nmachine-id dd235d00696545768f6f693bfd23b15f"),
    ]);
}
