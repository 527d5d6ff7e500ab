-- Age since the last change, by year
-- What has not changed for years is copied once and needs no dual write.
SELECT strftime('%Y', modified, 'unixepoch') AS year, count(*) AS objects, sum(size) AS bytes FROM current
GROUP BY year ORDER BY year DESC
