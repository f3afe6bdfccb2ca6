//! What grows with the input: time and memory from small disks and trees to large ones, as rows and as a drawing. It takes a while and some 20 GiB
//! of disk, so it runs only where it is named.

use super::{
    Cost, inputs, measure, report,
    support::{
        guest,
        ustar::{Kind, Ustar},
    },
};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::BufWriter,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// An input that comes in sizes, and what is made of it.
struct Series {
    name: &'static str,
    /// What is counted.
    unit: &'static str,
    sizes: &'static [u64],
    /// Writes the input of a size to a path.
    input: fn(&Path, u64),
    options: &'static str,
}

const SERIES: [Series; 3] = [
    Series {
        name: "raw to qcow2, 1 MiB of data in 64",
        unit: "GiB",
        sizes: &[1, 4, 16, 64],
        input: sparse_disk,
        options: "--from raw -f qcow2",
    },
    Series { name: "raw to qcow2, all data", unit: "GiB", sizes: &[1, 2, 4, 8], input: dense_disk, options: "--from raw -f qcow2" },
    Series {
        name: "tar to kernel+erofs",
        unit: "files",
        sizes: &[1000, 10_000, 100_000, 1_000_000],
        input: files,
        options: "-f kernel+erofs",
    },
];

/// A size, and what it cost.
type Point = (u64, Cost);

pub fn growth(work: &Path, moby: &str) {
    let mut drawn = Vec::new();
    for series in &SERIES {
        let mut points = Vec::new();
        for size in series.sizes {
            let input = work.join("growth.in");
            (series.input)(&input, *size);
            let command = format!("rm -rf grown && mkdir grown && {moby} -q convert growth.in {} --name ours --dir grown", series.options);
            let best = (0..super::ROUNDS).map(|_| measure(work, &command)).fold(Cost::WORST, Cost::or_better);
            let what = format!("{}: {size} {}", series.name, series.unit);
            println!("| {what} | moby | {:.2} | {:.2} | {:.0} | | | |", best.wall, best.cpu, best.memory);
            report::record(report::Row { what, command: "moby".to_owned(), cost: best, size: 0 });
            points.push((*size, best));
            fs::remove_file(&input).expect("an input of ours");
        }
        drawn.push((series, points));
    }
    fs::remove_dir_all(work.join("grown")).expect("a directory of ours");
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("growth.svg");
    fs::write(&path, drawing(&drawn)).expect("a directory of ours");
    println!("\ndrawn: {}", path.display());
}

const MIB: usize = 1 << 20;

fn sparse_disk(path: &Path, gib: u64) {
    disk(path, gib, 64);
}

fn dense_disk(path: &Path, gib: u64) {
    disk(path, gib, 1);
}

/// A disk with 1 MiB of noise in every so many.
fn disk(path: &Path, gib: u64, stride: usize) {
    let (file, mut noise, mut piece) = (File::create(path).expect("a file"), inputs::Noise(1), vec![0; MIB]);
    file.set_len(gib << 30).expect("room");
    for at in (0..gib << 30).step_by(stride * MIB) {
        piece.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&noise.next().to_le_bytes()));
        file.write_all_at(&piece, at).expect("room");
    }
}

/// A tar of a kernel and of so many files, a hundred in a directory.
fn files(path: &Path, count: u64) {
    let mut tar = Ustar::new(BufWriter::new(File::create(path).expect("a file")));
    let kernel = fs::read(guest::Arch::Amd64.debian("kernel")).expect("the kernel");
    let mut entry = |path: &str, kind: Kind<'_>| tar.entry(path, 0o755, kind).expect("room");
    entry("boot", Kind::Directory);
    entry("boot/kernel", Kind::File(&kernel));
    entry("boot/cmdline", Kind::File(b"console=ttyS0\n"));
    entry("files", Kind::Directory);
    for n in 0..count {
        if n % 100 == 0 {
            entry(&format!("files/{}", n / 100), Kind::Directory);
        }
        entry(&format!("files/{}/{n}", n / 100), Kind::File(format!("this is file {n}\n").as_bytes()));
    }
    tar.finish().expect("room");
}

/// What a line is of, its colour and its values.
type Line = (&'static str, &'static str, fn(&Cost) -> f64);

/// A column for each series: time above, memory below; every axis is logarithmic.
fn drawing(series: &[(&Series, Vec<Point>)]) -> String {
    const WIDTH: f64 = 300.0;
    const HEIGHT: f64 = 180.0;
    let kinds: [(&str, &[Line]); 2] = [
        ("seconds", &[("wall", "#1b6", |cost| cost.wall), ("processor", "#36c", |cost| cost.cpu)]),
        ("MiB at most", &[("memory", "#c33", |cost| cost.memory)]),
    ];
    let (width, height) = (series.len() as f64 * WIDTH, 2.0 * HEIGHT);
    let mut svg =
        format!(r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="10">"#);
    for (column, (series, points)) in series.iter().enumerate() {
        for (row, (axis, lines)) in kinds.iter().enumerate() {
            let place = (column as f64 * WIDTH, row as f64 * HEIGHT);
            let _ = write!(svg, r#"<g transform="translate({} {})"><text x="10" y="14">{}: {axis}</text>"#, place.0, place.1, series.name);
            plot(&mut svg, (WIDTH - 20.0, HEIGHT - 30.0), series.unit, points, lines);
            svg += "</g>";
        }
    }
    svg + "</svg>\n"
}

/// Lines through points, which say what they are.
fn plot(svg: &mut String, (width, height): (f64, f64), unit: &str, points: &[Point], lines: &[Line]) {
    let all = || points.iter().flat_map(|(_, cost)| lines.iter().map(move |(.., of)| of(cost).max(0.01).ln()));
    let (low, high) = (all().fold(f64::INFINITY, f64::min) - 0.5, all().fold(f64::NEG_INFINITY, f64::max) + 0.5);
    let end = points.len().saturating_sub(1).max(1) as f64;
    let x = |nth: usize| 20.0 + nth as f64 / end * (width - 60.0);
    let y = |value: f64| 20.0 + (high - value.max(0.01).ln()) / (high - low) * (height - 40.0);
    for (name, colour, of) in lines {
        let path: Vec<_> = points.iter().enumerate().map(|(nth, (_, cost))| format!("{:.1},{:.1}", x(nth), y(of(cost)))).collect();
        let _ = write!(svg, r#"<polyline fill="none" stroke="{colour}" points="{}"/>"#, path.join(" "));
        for (nth, (_, cost)) in points.iter().enumerate() {
            let label = if nth + 1 == points.len() { format!("{:.2} {name}", of(cost)) } else { format!("{:.2}", of(cost)) };
            let _ = write!(svg, r#"<text x="{:.1}" y="{:.1}" fill="{colour}">{label}</text>"#, x(nth), y(of(cost)) - 4.0);
        }
    }
    for (nth, (size, _)) in points.iter().enumerate() {
        let _ = write!(svg, r#"<text x="{:.1}" y="{height}">{size} {unit}</text>"#, x(nth));
    }
}
