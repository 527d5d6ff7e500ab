-- The largest first directories
-- The unit in which teams plan: who owns each of these?
SELECT substr(key, 1, instr(key, '/')) AS prefix, count(*) AS objects, sum(size) AS bytes, max(size) AS largest, date(max(modified), 'unixepoch') AS changed
FROM current GROUP BY prefix ORDER BY bytes DESC, objects DESC LIMIT :limit
