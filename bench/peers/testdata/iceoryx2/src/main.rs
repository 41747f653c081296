//! iceoryx2: a publisher and a subscriber in each of two processes. A message is written
//! where it is loaned and read where it is borrowed. Who waits calls `receive` again and
//! again, as the benchmark of iceoryx2 itself does, after which the services for round
//! trips are set up: a buffer of one message, the next message loaned before the answer is
//! there (benchmarks/publish-subscribe in github.com/eclipse-iceoryx/iceoryx2, which is
//! not on crates.io, and whose two sides are threads of one process). One way the
//! publisher retries until there is room.
//!
//! API: https://docs.rs/iceoryx2/0.10.0. The arguments and what is printed are those of
//! ../measure.h, and so are the loops over the payload, which are not vectorized.

use std::error::Error;
use std::io::Write;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::*;
use iceoryx2::sample_mut_uninit::SampleMutUninit;

type Failure = Box<dyn Error>;

/// Is set in the number of the last message.
const FINAL: u64 = 1 << 63;
const SAMPLES_MAX: usize = 1 << 18;
const GROUPS_LEAST: usize = 16;
const BURST: u64 = 1024;

struct Task {
    part: String,
    side: u32,
    folder: String,
    processor: usize,
    size: usize,
    group: usize,
    warm: Duration,
    length: Duration,
}

impl Task {
    fn from_arguments() -> Result<Task, Failure> {
        let a: Vec<String> = std::env::args().collect();
        if a.len() != 10 {
            return Err("usage: peer trips|oneway SIDE FOLDER PROCESSOR SIZE BATCH GROUP WARM LENGTH".into());
        }
        Ok(Task {
            part: a[1].clone(),
            side: a[2].parse()?,
            folder: a[3].clone(),
            processor: a[4].parse()?,
            size: a[5].parse()?,
            group: a[7].parse()?,
            warm: Duration::from_millis(a[8].parse()?),
            length: Duration::from_millis(a[9].parse()?),
        })
    }
}

fn pin(processor: usize) -> Result<(), Failure> {
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        if libc::sched_setaffinity(0, size_of_val(&set), &set) != 0 {
            return Err(format!("pin to processor {processor}: {}", std::io::Error::last_os_error()).into());
        }
    }
    Ok(())
}

fn fill(words: &mut [MaybeUninit<u64>], v: u64) {
    let (fours, rest) = words.as_chunks_mut::<4>();
    for w in fours {
        w[0].write(v);
        w[1].write(v);
        w[2].write(v);
        w[3].write(v);
    }
    for w in rest {
        w.write(v);
    }
}

fn sum(words: &[u64]) -> u64 {
    let (fours, rest) = words.as_chunks::<4>();
    let mut s = [0u64; 4];
    for w in fours {
        for i in 0..4 {
            s[i] = s[i].wrapping_add(w[i]);
        }
    }
    let total = s.iter().fold(0u64, |a, b| a.wrapping_add(*b));
    rest.iter().fold(total, |a, b| a.wrapping_add(*b))
}

type Loan = SampleMutUninit<ipc::Service, [MaybeUninit<u64>], ()>;

/// One side of two: each publishes what the other one subscribes to.
struct Lane {
    words: usize,
    publisher: Publisher<ipc::Service, [u64], ()>,
    subscriber: Subscriber<ipc::Service, [u64], ()>,
    next: Option<Loan>, // loaned while there is time
}

impl Lane {
    fn open(task: &Task) -> Result<Lane, Failure> {
        let one_way = task.part == "oneway";
        let node = NodeBuilder::new().config(&config_in(&task.folder)?).create::<ipc::Service>()?;
        let service = |to: u32| {
            let messages = if one_way { (4 << 20) / task.size } else { 1 };
            node.service_builder(&ServiceName::new(&format!("to {to}"))?)
                .publish_subscribe::<[u64]>()
                .max_publishers(1)
                .max_subscribers(1)
                .history_size(0)
                .subscriber_max_buffer_size(messages.clamp(1, 1024))
                .enable_safe_overflow(!one_way)
                .open_or_create()
                .map_err(Failure::from)
        };
        let (to, from) = (service(1 - task.side)?, service(task.side)?);
        let words = task.size / 8;
        let publisher = to
            .publisher_builder()
            .initial_max_slice_len(words)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        let subscriber = from.subscriber_builder().create()?;
        // What is published before somebody subscribes is lost.
        while to.dynamic_config().number_of_subscribers() == 0 || from.dynamic_config().number_of_publishers() == 0 {
            std::thread::yield_now();
        }
        publisher.update_connections()?;
        Ok(Lane { words, publisher, subscriber, next: None })
    }

    fn loan(&self) -> Result<Loan, Failure> {
        Ok(self.publisher.loan_slice_uninit(self.words)?)
    }

    fn send(&mut self, v: u64) -> Result<(), Failure> {
        let mut loan = match self.next.take() {
            Some(loan) => loan,
            None => self.loan()?,
        };
        fill(loan.payload_mut(), v);
        unsafe { loan.assume_init() }.send()?; // fill has written every word
        self.next = Some(self.loan()?);
        Ok(())
    }

    /// Receives message v, reads all of it, and returns whether it was the last.
    fn take(&self, v: u64) -> Result<bool, Failure> {
        let sample = loop {
            if let Some(sample) = self.subscriber.receive()? {
                break sample;
            }
        };
        let words = sample.payload();
        if words.len() != self.words {
            return Err(format!("receive: message {v} has {} words instead of {}", words.len(), self.words).into());
        }
        let got = words[0];
        if got & !FINAL != v {
            return Err(format!("receive: message {} instead of {v}", got & !FINAL).into());
        }
        if sum(words) != got.wrapping_mul(self.words as u64) {
            return Err(format!("receive: message {v} is torn").into());
        }
        Ok(got & FINAL != 0)
    }

    fn trip(&mut self, v: u64) -> Result<(), Failure> {
        self.send(v)?;
        self.take(v & !FINAL)?;
        Ok(())
    }
}

/// What iceoryx2 makes lies in the folder, or in /dev/shm under names that begin with the
/// folder's, by which who has made the folder finds and removes it.
fn config_in(folder: &str) -> Result<Config, Failure> {
    let mut config = Config::default();
    config.global.set_root_path(&Path::new(folder.as_bytes())?);
    let name = folder.rsplit('/').next().unwrap_or(folder);
    config.global.prefix = FileName::new(format!("{name}-").as_bytes())?;
    Ok(config)
}

#[derive(Default)]
struct Count {
    messages: u64,
    took: Duration,
    groups: Vec<u32>,
    singles: Vec<u32>,
}

impl Count {
    fn print(&self) -> std::io::Result<()> {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        writeln!(out, "{} {} {} {}", self.messages, self.took.as_nanos(), self.groups.len(), self.singles.len())?;
        for ns in self.groups.iter().chain(&self.singles) {
            out.write_all(&ns.to_le_bytes())?;
        }
        out.flush()
    }
}

fn answer_trips(lane: &mut Lane) -> Result<(), Failure> {
    let mut v = 1;
    loop {
        let over = lane.take(v)?;
        lane.send(if over { v | FINAL } else { v })?;
        if over {
            return Ok(());
        }
        v += 1;
    }
}

/// Looks at the clock, which takes some 20 ns, after each trip only half of the time, and
/// else after a group of them.
fn measure_trips(task: &Task, lane: &mut Lane) -> Result<Count, Failure> {
    let mut count = Count { groups: room(), singles: room(), ..Count::default() };
    let (begun, mut v) = (Instant::now(), 0);
    let (mut now, mut measured) = (begun, begun);
    while (now - begun < task.warm + task.length || count.groups.len() < GROUPS_LEAST)
        && count.singles.len() + task.group <= SAMPLES_MAX
        && count.groups.len() < SAMPLES_MAX
    {
        let counts = now - begun >= task.warm;
        if !counts {
            measured = now;
        }
        let before = Instant::now();
        for _ in 0..task.group {
            v += 1;
            lane.trip(v)?;
        }
        now = Instant::now();
        if counts {
            count.groups.push((now - before).as_nanos() as u32);
            count.messages += task.group as u64;
        }
        if task.group == 1 {
            continue;
        }
        for _ in 0..task.group {
            v += 1;
            lane.trip(v)?;
            let after = Instant::now();
            if counts {
                count.singles.push((after - now).as_nanos() as u32);
            }
            now = after;
        }
        if counts {
            count.messages += task.group as u64;
        }
    }
    count.took = now - measured;
    lane.trip((v + 1) | FINAL)?;
    Ok(count)
}

/// Room for samples of which no page is missing later.
fn room() -> Vec<u32> {
    let mut samples = vec![1; SAMPLES_MAX];
    samples.clear();
    samples
}

/// Counts messages until the last one has been read, which side 1 says with a message of
/// its own. The first phase is to warm up.
fn one_way(task: &Task, lane: &mut Lane) -> Result<Count, Failure> {
    let (mut count, mut v) = (Count::default(), 1);
    for (phase, length) in [(1, task.warm), (2, task.length)] {
        if task.side == 1 {
            while !lane.take(v)? {
                v += 1;
            }
            v += 1;
            lane.send(phase)?;
            continue;
        }
        let (first, begun) = (v, Instant::now());
        let n = if task.size > 4096 { 1 } else { BURST };
        let mut over = false;
        while !over {
            over = begun.elapsed() >= length;
            for i in 0..n {
                lane.send(if over && i == n - 1 { v | FINAL } else { v })?;
                v += 1;
            }
        }
        lane.take(phase)?;
        count.messages = v - first;
        count.took = begun.elapsed();
    }
    Ok(count)
}

fn run() -> Result<(), Failure> {
    set_log_level(LogLevel::Error);
    let task = Task::from_arguments()?;
    pin(task.processor)?;
    let mut lane = Lane::open(&task)?;
    let count = match (task.part.as_str(), task.side) {
        ("trips", 1) => return answer_trips(&mut lane),
        ("trips", _) => measure_trips(&task, &mut lane)?,
        ("oneway", _) => one_way(&task, &mut lane)?,
        (part, _) => return Err(format!("measure: there is no part {part}").into()),
    };
    if task.side == 0 {
        count.print()?;
    }
    Ok(())
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("version") {
        println!("0.10.0"); // as Cargo.toml says
        return;
    }
    if let Err(e) = run() {
        eprintln!("iceoryx2: {e}");
        std::process::exit(1);
    }
}
