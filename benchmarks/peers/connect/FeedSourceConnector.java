import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigDef.Importance;
import org.apache.kafka.common.config.ConfigDef.Type;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.source.ExactlyOnceSupport;
import org.apache.kafka.connect.source.SourceConnector;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTask;

/** The feed, page by page, as a source of Kafka Connect: one request a poll, each record's JSON as it came, keyed by its call. */
public class FeedSourceConnector extends SourceConnector {
  private Map<String, String> settings;

  @Override public void start(Map<String, String> given) { settings = given; }
  @Override public void stop() { }
  @Override public String version() { return "1"; }
  @Override public Class<? extends Task> taskClass() { return FeedTask.class; }
  @Override public List<Map<String, String>> taskConfigs(int most) { return List.of(settings); }
  @Override public ExactlyOnceSupport exactlyOnceSupport(Map<String, String> given) { return ExactlyOnceSupport.SUPPORTED; }

  @Override public ConfigDef config() {
    return new ConfigDef()
        .define("url", Type.STRING, Importance.HIGH, "Of the list.")
        .define("topic", Type.STRING, Importance.HIGH, "Where records go.")
        .define("begin", Type.LONG, Importance.HIGH, "Unix seconds, where nothing was read yet.")
        .define("end", Type.LONG, Importance.HIGH, "Unix seconds.");
  }

  /** Its offset: from when it reads, the page it reads next, and the newest record of the reading so far. */
  public static class FeedTask extends SourceTask {
    private static final long GREGORIAN = 62_167_219_200L;
    private static final long PAUSE = 1_000;
    private final ObjectMapper json = new ObjectMapper();
    private final HttpClient client =
        HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(10)).build();
    private Map<String, String> settings;
    private Map<String, String> partition;
    private long begin;
    private String page = "";
    private long newest;

    @Override public String version() { return "1"; }
    @Override public void stop() { }

    @Override public void start(Map<String, String> given) {
      settings = given;
      partition = Map.of("url", given.get("url"));
      Map<String, Object> reached = context.offsetStorageReader().offset(partition);
      begin = reached == null ? Long.parseLong(given.get("begin")) : (Long) reached.get("begin");
      page = reached == null ? "" : (String) reached.get("page");
      newest = reached == null ? 0 : (Long) reached.get("newest");
    }

    @Override public List<SourceRecord> poll() throws InterruptedException {
      JsonNode answer = asked();
      List<JsonNode> found = new ArrayList<>();
      answer.get("data").forEach(found::add);
      for (JsonNode record : found) newest = Math.max(newest, record.get("timestamp").asLong() - GREGORIAN);
      page = answer.get("next_start_key").asText();
      if (page.isEmpty() && newest > 0) begin = newest + 1;
      Map<String, ?> offset = Map.of("begin", begin, "page", page, "newest", newest);
      List<SourceRecord> out = new ArrayList<>(found.size());
      for (JsonNode record : found) {
        out.add(new SourceRecord(partition, offset, settings.get("topic"), Schema.STRING_SCHEMA,
            record.get("call_id").asText(), Schema.STRING_SCHEMA, record.toString()));
      }
      if (out.isEmpty()) Thread.sleep(PAUSE);
      return out.isEmpty() ? null : out;
    }

    private JsonNode asked() throws InterruptedException {
      String query = "?startDate=" + begin + "&endDate=" + settings.get("end") + "&pageSize=1000&startKey=" + page;
      HttpRequest request = HttpRequest.newBuilder(URI.create(settings.get("url") + query))
          .timeout(Duration.ofSeconds(30)).header("X-Auth-Token", "key").build();
      try {
        return json.readTree(client.send(request, BodyHandlers.ofByteArray()).body());
      } catch (IOException failed) {
        throw new RetriableException(failed);
      }
    }
  }
}
