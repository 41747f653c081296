import io.aeron.Aeron;
import io.aeron.ExclusivePublication;
import io.aeron.FragmentAssembler;
import io.aeron.Publication;
import io.aeron.Subscription;
import io.aeron.logbuffer.BufferClaim;
import io.aeron.logbuffer.FragmentHandler;
import io.aeron.logbuffer.Header;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import org.agrona.DirectBuffer;
import org.agrona.MutableDirectBuffer;
import org.agrona.concurrent.BusySpinIdleStrategy;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Aeron IPC: a publication and a subscription in each of two processes, beside a media driver,
 * which is a third process and not on the messages' way; it only moves the limit up to which a
 * publication may go. A message that fits into one fragment is claimed in the log, written and
 * read there; larger ones are offered, which copies them into fragments, and put together again,
 * which copies them out. Who waits, for a message or for room, spins (BusySpinIdleStrategy).
 *
 * API: https://javadoc.io/doc/io.aeron/aeron-all/1.51.0; the set-up is that of Aeron's samples
 * EmbeddedPingPong and EmbeddedExclusiveIpcThroughput. The arguments and what is printed are
 * those of ../measure.h, and so are the loops over the payload.
 */
public final class Peer implements FragmentHandler {
    /** Is set in the number of the last message. */
    static final long FINAL = 1L << 63;

    static final int SAMPLES_MAX = 1 << 18;
    static final int GROUPS_LEAST = 16; // however slow the machine is just now
    static final int BURST = 1024; // messages between two looks at the clock, at least
    static final int FRAGMENTS = 64; // that one poll takes, at most

    final int side;
    final int size;
    final int group;
    final long warm;
    final long length;

    final IdleStrategy idle = BusySpinIdleStrategy.INSTANCE;
    final BufferClaim claim = new BufferClaim();
    final UnsafeBuffer out;
    ExclusivePublication to;
    Subscription from;
    FragmentHandler handler;

    long expected; // the number of the next message
    boolean over; // the last one was there

    Peer(String[] a) {
        side = Integer.parseInt(a[1]);
        size = Integer.parseInt(a[4]);
        group = Integer.parseInt(a[6]);
        warm = Long.parseLong(a[7]) * 1_000_000;
        length = Long.parseLong(a[8]) * 1_000_000;
        out = new UnsafeBuffer(ByteBuffer.allocateDirect(size));
    }

    public static void main(String[] a) throws Exception {
        if (a.length == 1 && a[0].equals("version")) {
            System.out.println(Aeron.class.getPackage().getImplementationVersion());
            return;
        }
        if (a.length != 9) {
            System.err.println("usage: Peer trips|oneway SIDE FOLDER PROCESSOR SIZE BATCH GROUP WARM LENGTH");
            System.exit(2);
        }
        Aeron.Context context = new Aeron.Context().aeronDirectoryName(a[2] + "/aeron");
        try (Aeron aeron = Aeron.connect(context)) {
            pin(a[3]);
            Peer p = new Peer(a);
            p.open(aeron);
            p.measure(a[0]);
        }
    }

    /**
     * Keeps this thread on a processor. The threads of the virtual machine that compile and
     * collect go where there is time. Java has no call for it; the thread is found by its name.
     */
    static void pin(String processor) throws Exception {
        Thread.currentThread().setName("measured");
        try (DirectoryStream<Path> threads = Files.newDirectoryStream(Path.of("/proc/self/task"))) {
            for (Path t : threads) {
                if (Files.readString(t.resolve("comm")).strip().equals("measured")) {
                    Process taskset = new ProcessBuilder("taskset", "-pc", processor, t.getFileName().toString())
                            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                            .redirectError(ProcessBuilder.Redirect.INHERIT)
                            .start();
                    if (taskset.waitFor() == 0) {
                        return;
                    }
                }
            }
        }
        throw new IOException("pin to processor " + processor + ": taskset failed, or no thread is called measured");
    }

    void open(Aeron aeron) {
        final int stream = 10;
        from = aeron.addSubscription("aeron:ipc", stream + side);
        to = aeron.addExclusivePublication("aeron:ipc", stream + 1 - side);
        handler = size <= to.maxPayloadLength() ? this : new FragmentAssembler(this);
        while (!to.isConnected() || !from.isConnected()) {
            Thread.onSpinWait();
        }
    }

    void measure(String part) throws IOException {
        if (part.equals("trips") && side == 1) {
            answerTrips();
        } else if (part.equals("trips")) {
            roundTrips();
        } else if (part.equals("oneway") && side == 1) {
            receiveAll();
        } else if (part.equals("oneway")) {
            sendAll();
        } else {
            throw new IllegalArgumentException("there is no part " + part);
        }
    }

    void fill(MutableDirectBuffer b, int at, long v) {
        int end = at + size;
        for (; at + 32 <= end; at += 32) {
            b.putLong(at, v);
            b.putLong(at + 8, v);
            b.putLong(at + 16, v);
            b.putLong(at + 24, v);
        }
        for (; at + 8 <= end; at += 8) {
            b.putLong(at, v);
        }
    }

    long sum(DirectBuffer b, int at) {
        int end = at + size;
        long s0 = 0;
        long s1 = 0;
        long s2 = 0;
        long s3 = 0;
        for (; at + 32 <= end; at += 32) {
            s0 += b.getLong(at);
            s1 += b.getLong(at + 8);
            s2 += b.getLong(at + 16);
            s3 += b.getLong(at + 24);
        }
        for (; at + 8 <= end; at += 8) {
            s0 += b.getLong(at);
        }
        return s0 + s1 + s2 + s3;
    }

    void send(long v) {
        if (handler == this) {
            while (refused(to.tryClaim(size, claim))) {
                idle.idle();
            }
            fill(claim.buffer(), claim.offset(), v);
            claim.commit();
            return;
        }
        fill(out, 0, v);
        while (refused(to.offer(out, 0, size))) {
            idle.idle();
        }
    }

    /** Says whether there is no room just now. */
    static boolean refused(long position) {
        if (position >= 0) {
            return false;
        }
        if (position == Publication.BACK_PRESSURED || position == Publication.ADMIN_ACTION) {
            return true;
        }
        throw new IllegalStateException("publish: " + Publication.errorString(position));
    }

    /** Receives a message, all of which is read. */
    @Override
    public void onFragment(DirectBuffer b, int at, int n, Header header) {
        long got = b.getLong(at);
        if (n != size || (got & ~FINAL) != expected) {
            throw new IllegalStateException(
                    "receive: message " + (got & ~FINAL) + " of " + n + " B instead of " + expected + " of " + size + " B");
        }
        if (sum(b, at) != got * (size / 8)) {
            throw new IllegalStateException("receive: message " + expected + " is torn");
        }
        over = (got & FINAL) != 0;
        expected++;
    }

    /** Waits until the messages before v have been received. */
    void take(long v) {
        while (expected < v) {
            idle.idle(from.poll(handler, FRAGMENTS));
        }
    }

    void answerTrips() {
        expected = 1;
        for (long v = 1; !over; v++) {
            take(v + 1);
            send(over ? v | FINAL : v);
        }
    }

    void trip(long v) {
        send(v);
        take((v & ~FINAL) + 1);
    }

    /**
     * Measures round trips; looks at the clock, which takes some 20 ns, after each of them only
     * half of the time, and else after a group of them.
     */
    void roundTrips() throws IOException {
        int[] groups = new int[SAMPLES_MAX];
        int[] singles = new int[SAMPLES_MAX];
        int ngroups = 0;
        int nsingles = 0;
        long v = 0;
        long n = 0;
        expected = 1;
        long begun = System.nanoTime();
        long measured = begun;
        long now = begun;
        while ((now - begun < warm + length || ngroups < GROUPS_LEAST)
                && nsingles + group <= SAMPLES_MAX
                && ngroups < SAMPLES_MAX) {
            boolean counts = now - begun >= warm;
            if (!counts) {
                measured = now;
            }
            long before = System.nanoTime();
            for (int i = 0; i < group; i++) {
                trip(++v);
            }
            now = System.nanoTime();
            if (counts) {
                groups[ngroups++] = (int) (now - before);
                n += group;
            }
            for (int i = 0; i < group && group > 1; i++) {
                trip(++v);
                long after = System.nanoTime();
                if (counts) {
                    singles[nsingles++] = (int) (after - now);
                    n++;
                }
                now = after;
            }
        }
        long took = now - measured;
        trip(++v | FINAL);
        print(n, took, groups, ngroups, singles, nsingles);
    }

    /**
     * Measures how many messages get through until the last one has been read, which side 1 says
     * with a message of its own. The first phase is to warm up.
     */
    void sendAll() throws IOException {
        long v = 1;
        int count = size > 4096 ? 1 : BURST;
        for (int phase = 1; phase <= 2; phase++) {
            long first = v;
            long begun = System.nanoTime();
            for (boolean last = false; !last; ) {
                last = System.nanoTime() - begun >= (phase == 1 ? warm : length);
                for (int i = 0; i < count; i++, v++) {
                    send(last && i == count - 1 ? v | FINAL : v);
                }
            }
            expected = phase;
            take(phase + 1);
            if (phase == 2) {
                print(v - first, System.nanoTime() - begun, new int[0], 0, new int[0], 0);
            }
        }
    }

    void receiveAll() {
        expected = 1;
        for (int phase = 1; phase <= 2; phase++) {
            for (over = false; !over; ) {
                idle.idle(from.poll(handler, FRAGMENTS));
            }
            send(phase);
        }
        while (to.isConnected()) { // or the last message might go with the publication
            Thread.onSpinWait();
        }
    }

    static void print(long n, long took, int[] groups, int ngroups, int[] singles, int nsingles) throws IOException {
        ByteBuffer b = ByteBuffer.allocate(4 * (ngroups + nsingles)).order(ByteOrder.LITTLE_ENDIAN);
        b.asIntBuffer().put(groups, 0, ngroups).put(singles, 0, nsingles);
        OutputStream stdout = new BufferedOutputStream(System.out);
        stdout.write((n + " " + took + " " + ngroups + " " + nsingles + "\n").getBytes());
        stdout.write(b.array());
        stdout.flush();
    }
}
