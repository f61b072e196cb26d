// SPDX-License-Identifier: Apache-2.0
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.util.concurrent.Executors;

/**
 * App client url|http|socket|nio IP PORT, App server http|socket IP PORT: the exchanges of README.md by
 * HttpURLConnection, java.net.http, streams with available(), a selector.
 */
public class App {
	static final int PRIME = 65521, LARGE = 6000000, SLOW = 1500000, HALF = 50000;
	static final int[] SIZES = {0, 1, 100, 1000, 10000, 100000, 1000000};
	static final byte[] BLOCK = new byte[PRIME];

	static {
		for (int j = 0; j < PRIME; j++)
			BLOCK[j] = (byte) (j * 31 + (j >> 3) * 17 + (j >> 8) * 7);
	}

	static byte[] body(int n) {
		byte[] b = new byte[n];
		for (int i = 0; i < n; i += PRIME)
			System.arraycopy(BLOCK, 0, b, i, Math.min(PRIME, n - i));
		return b;
	}

	static class Checker {
		int n;

		void feed(byte[] part, int len) {
			for (int i = 0; i < len; i++, n++)
				if (part[i] != BLOCK[n % PRIME])
					throw new IllegalStateException("wrong byte " + n);
		}
	}

	static void check(boolean holds, String what) {
		if (!holds)
			throw new IllegalStateException(what);
	}

	static int drain(InputStream in, long pause) throws Exception {
		Checker c = new Checker();
		byte[] buf = new byte[50000];
		for (int m; (m = in.read(buf)) >= 0; ) {
			c.feed(buf, m);
			Thread.sleep(pause);
		}
		return c.n;
	}

	/** A client's two kinds of exchange. */
	interface Client {
		void get(String kind, int n, long pause) throws Exception;

		void post(int n) throws Exception;
	}

	static void exchanges(Client c, boolean chunks) throws Exception {
		for (int n : SIZES) {
			c.get("down", n, 0);
			if (chunks)
				c.get("downc", n, 0);
			c.post(n);
		}
		c.post(LARGE);
		c.get("down", LARGE, 0);
		c.get("down", SLOW, 5);
	}

	static class Url implements Client {
		final String base;

		Url(String base) {
			this.base = base;
		}

		HttpURLConnection open(String path) throws Exception {
			return (HttpURLConnection) URI.create(base + path).toURL().openConnection();
		}

		public void get(String kind, int n, long pause) throws Exception {
			try (InputStream in = open("/" + kind + "/" + n).getInputStream()) {
				check(drain(in, pause) == n, "length");
			}
		}

		public void post(int n) throws Exception {
			HttpURLConnection c = open("/up/" + n);
			c.setDoOutput(true);
			c.setFixedLengthStreamingMode(n);
			try (OutputStream out = c.getOutputStream()) {
				out.write(body(n));
			}
			try (InputStream in = c.getInputStream()) {
				check(new String(in.readAllBytes()).equals(n + " ok"), "upload");
			}
		}
	}

	static class Http implements Client {
		final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
		final String base;

		Http(String base) {
			this.base = base;
		}

		public void get(String kind, int n, long pause) throws Exception {
			HttpRequest r = HttpRequest.newBuilder(URI.create(base + "/" + kind + "/" + n)).build();
			try (InputStream in = client.send(r, HttpResponse.BodyHandlers.ofInputStream()).body()) {
				check(drain(in, pause) == n, "length");
			}
		}

		public void post(int n) throws Exception {
			HttpRequest r = HttpRequest.newBuilder(URI.create(base + "/up/" + n))
					.POST(HttpRequest.BodyPublishers.ofByteArray(body(n))).build();
			check(client.send(r, HttpResponse.BodyHandlers.ofString()).body().equals(n + " ok"), "upload");
		}
	}

	static String head(String method, String path, int n) {
		return method + " " + path + " HTTP/1.1\r\nHost: app\r\n" + (n < 0 ? "" : "Content-Length: " + n + "\r\n")
				+ "\r\n";
	}

	static int lengthIn(String head) {
		for (String line : head.split("\r\n"))
			if (line.toLowerCase().startsWith("content-length:"))
				return Integer.parseInt(line.substring(15).trim());
		return 0;
	}

	/** Streams of a Socket; what available() promises is read, and must be there. */
	static class Streams implements Client {
		final Socket socket;
		final InputStream in;
		final OutputStream out;

		Streams(Socket socket) throws IOException {
			this.socket = socket;
			in = socket.getInputStream();
			out = socket.getOutputStream();
		}

		/** A head, or null at the end. */
		String readHead() throws IOException {
			StringBuilder s = new StringBuilder();
			while (s.indexOf("\r\n\r\n") < 0) {
				int b = in.read();
				if (b < 0)
					return null;
				s.append((char) b);
			}
			return s.toString();
		}

		void readBody(int n, Checker c, long pause, StringBuilder text) throws Exception {
			byte[] buf = new byte[65536];
			while (n > 0) {
				int promised = in.available();
				int m = in.read(buf, 0, Math.min(n, Math.min(buf.length, Math.max(promised, 1))));
				check(m > 0, "the end came early");
				check(promised == 0 || m == Math.min(n, Math.min(buf.length, promised)), "available()");
				if (c != null)
					c.feed(buf, m);
				if (text != null)
					text.append(new String(buf, 0, m));
				n -= m;
				Thread.sleep(pause);
			}
		}

		public void get(String kind, int n, long pause) throws Exception {
			out.write(head("GET", "/" + kind + "/" + n, -1).getBytes());
			Checker c = new Checker();
			readBody(lengthIn(readHead()), c, pause, null);
			check(c.n == n, "length");
		}

		public void post(int n) throws Exception {
			out.write(head("POST", "/up/" + n, n).getBytes());
			out.write(body(n));
			StringBuilder said = new StringBuilder();
			readBody(lengthIn(readHead()), null, 0, said);
			check(said.toString().equals(n + " ok"), "upload");
		}

		void halfClose() throws Exception {
			out.write(head("GET", "/down/" + HALF, -1).getBytes());
			socket.shutdownOutput();
			Checker c = new Checker();
			readBody(lengthIn(readHead()), c, 0, null);
			check(c.n == HALF && in.read() < 0, "not the end");
		}
	}

	/** A non-blocking channel and a selector. */
	static class Nio implements Client {
		final SocketChannel channel;
		final Selector selector = Selector.open();
		final SelectionKey key;
		final ByteBuffer buf = ByteBuffer.allocateDirect(65536).flip();

		Nio(InetSocketAddress addr) throws IOException {
			channel = SocketChannel.open();
			channel.configureBlocking(false);
			channel.connect(addr);
			key = channel.register(selector, SelectionKey.OP_CONNECT);
			selector.select();
			check(channel.finishConnect(), "connect");
		}

		void await(int ops) throws IOException {
			key.interestOps(ops);
			selector.select(60000);
			check(!selector.selectedKeys().isEmpty(), "hangs");
			selector.selectedKeys().clear();
		}

		void write(byte[] data) throws IOException {
			for (ByteBuffer b = ByteBuffer.wrap(data); b.hasRemaining(); )
				if (channel.write(b) == 0)
					await(SelectionKey.OP_WRITE);
		}

		boolean fill() throws IOException {
			int m;
			buf.clear();
			while ((m = channel.read(buf)) == 0)
				await(SelectionKey.OP_READ);
			buf.flip();
			return m > 0;
		}

		String readHead() throws IOException {
			StringBuilder s = new StringBuilder();
			while (s.indexOf("\r\n\r\n") < 0) {
				check(buf.hasRemaining() || fill(), "the end came early");
				s.append((char) buf.get());
			}
			return s.toString();
		}

		byte[] readBody(int n, long pause) throws Exception {
			byte[] all = new byte[n];
			for (int at = 0; at < n; ) {
				if (!buf.hasRemaining()) {
					Thread.sleep(pause);
					check(fill(), "the end came early");
				}
				int m = Math.min(n - at, buf.remaining());
				buf.get(all, at, m);
				at += m;
			}
			return all;
		}

		public void get(String kind, int n, long pause) throws Exception {
			write(head("GET", "/" + kind + "/" + n, -1).getBytes());
			Checker c = new Checker();
			byte[] all = readBody(lengthIn(readHead()), pause);
			c.feed(all, all.length);
			check(c.n == n, "length");
		}

		public void post(int n) throws Exception {
			write(head("POST", "/up/" + n, n).getBytes());
			write(body(n));
			check(new String(readBody(lengthIn(readHead()), 0)).equals(n + " ok"), "upload");
		}

		void halfClose() throws Exception {
			write(head("GET", "/down/" + HALF, -1).getBytes());
			channel.shutdownOutput();
			byte[] all = readBody(lengthIn(readHead()), 0);
			new Checker().feed(all, all.length);
			check(all.length == HALF && !buf.hasRemaining() && !fill(), "not the end");
		}
	}

	static void client(String mode, String ip, int port) throws Exception {
		String base = "http://" + ip + ":" + port;
		switch (mode) {
			case "url":
				exchanges(new Url(base), true);
				break;
			case "http":
				exchanges(new Http(base), true);
				break;
			case "socket":
				Streams streams = new Streams(new Socket(ip, port));
				exchanges(streams, false);
				streams.halfClose();
				break;
			default:
				Nio nio = new Nio(new InetSocketAddress(ip, port));
				exchanges(nio, false);
				nio.halfClose();
		}
		System.out.println("ok");
	}

	// Servers

	static void serveHttp(String ip, int port) throws IOException {
		HttpServer server = HttpServer.create(new InetSocketAddress(ip, port), 64);
		server.setExecutor(Executors.newCachedThreadPool());
		server.createContext("/", exchange -> {
			String[] part = exchange.getRequestURI().getPath().split("/");
			byte[] answer;
			try {
				answer = exchange.getRequestMethod().equals("POST")
						? (drain(exchange.getRequestBody(), 0) + " ok").getBytes() : body(Integer.parseInt(part[2]));
			} catch (Exception e) {
				throw new IOException(e);
			}
			boolean chunked = part[1].equals("downc");
			exchange.sendResponseHeaders(200, chunked ? 0 : answer.length == 0 ? -1 : answer.length);
			if (chunked || answer.length > 0)
				exchange.getResponseBody().write(answer);
			exchange.close();
		});
		server.start();
	}

	/** Content-Length only. */
	static void serveSocket(String ip, int port) throws IOException {
		ServerSocket listener = new ServerSocket();
		listener.bind(new InetSocketAddress(ip, port), 64);
		while (true) {
			Socket socket = listener.accept();
			new Thread(() -> {
				try (socket) {
					Streams s = new Streams(socket);
					for (String head; (head = s.readHead()) != null; ) {
						String[] part = head.split(" ")[1].split("/");
						byte[] answer;
						if (head.startsWith("POST")) {
							Checker c = new Checker();
							s.readBody(lengthIn(head), c, 0, null);
							answer = (c.n + " ok").getBytes();
						} else {
							answer = body(Integer.parseInt(part[2]));
						}
						s.out.write(("HTTP/1.1 200 OK\r\nContent-Length: " + answer.length + "\r\n\r\n").getBytes());
						s.out.write(answer);
					}
				} catch (Exception e) {
					e.printStackTrace();
				}
			}).start();
		}
	}

	public static void main(String[] a) throws Exception {
		if (a[0].equals("client"))
			client(a[1], a[2], Integer.parseInt(a[3]));
		else if (a[1].equals("http"))
			serveHttp(a[2], Integer.parseInt(a[3]));
		else
			serveSocket(a[2], Integer.parseInt(a[3]));
	}
}
