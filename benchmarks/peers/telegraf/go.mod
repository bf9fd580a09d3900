module poller.example/benchmarks/telegraf

go 1.25.7

require github.com/influxdata/telegraf v1.37.3
